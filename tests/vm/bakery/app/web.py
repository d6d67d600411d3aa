"""An application that knows nothing of Coachman. Its package is named like many."""

from pathlib import Path

import flavour
from fastapi import FastAPI

api = FastAPI()


@api.get("/bread")
def bread() -> dict[str, str]:
    return {"flavour": flavour.NAME, "folder": str(Path.cwd())}
