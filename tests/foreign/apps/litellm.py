import os
from pathlib import Path

CONFIG = """
model_list:
  - model_name: mock
    litellm_params: {model: openai/mock, api_key: none, mock_response: hello from litellm}
"""
Path("litellm.yaml").write_text(CONFIG)
os.environ |= {
    "CONFIG_FILE_PATH": "litellm.yaml",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it is fetched at the start
    "LITELLM_MASTER_KEY": "sk-of-the-test",  # without one it does not start
}

from litellm.proxy.proxy_server import app

__all__ = ["app"]
