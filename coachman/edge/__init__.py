"""HTTP/1.1 with limits and deadlines, where no middleware can reach.

Knows Coachman's settings and Uvicorn, and nothing else of Coachman. Runs wherever requests are served.
"""
