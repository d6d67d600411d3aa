"""What the processes of a service share: the scoreboard, ring files, the files of a handover."""
