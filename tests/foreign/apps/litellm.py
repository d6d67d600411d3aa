import os
from pathlib import Path

CONFIG = """
model_list:
  - model_name: mock
    litellm_params: {model: openai/mock, api_key: none, mock_response: hello from litellm}
"""
Path("litellm.yaml").write_text(CONFIG)
os.environ["CONFIG_FILE_PATH"] = "litellm.yaml"

from litellm.proxy.proxy_server import app

__all__ = ["app"]
