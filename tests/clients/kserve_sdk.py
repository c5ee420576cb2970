"""Asks a server by KServe's SDK, and writes what it understood as JSON: `python kserve_sdk.py PORT MODEL` (columns on stdin).

Run by `test_clients` with the Python that has `kserve`; nothing of ours is imported.
"""

import asyncio
import json
import sys

from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


async def main():
    port, model = sys.argv[1:]
    columns = json.load(sys.stdin)
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    base = f"http://127.0.0.1:{port}"
    asked = InferRequest(
        model_name=model,
        request_id="7",
        infer_inputs=[
            InferInput(name, [len(values)], kind, data=values) for name, (kind, values) in columns.items()
        ],
    )
    found = {
        "ready": [
            await client.is_server_live(base), await client.is_server_ready(base), await client.is_model_ready(base, model),
        ]
    }  # fmt: skip
    said = await client.infer(base, asked, model_name=model)
    (prediction,) = (one for one in said.outputs if one.name == "prediction")
    found["json"] = {"id": said.id, "version": said.model_version, "prediction": list(prediction.data)}
    await client.close()
    print(json.dumps(found))


asyncio.run(main())
