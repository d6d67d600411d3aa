from pathlib import Path

import pytest

from tests.support import package


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return package.build_wheel(tmp_path_factory.mktemp("dist"))
