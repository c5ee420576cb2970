"""Asks a server by Triton's own HTTP client, and writes what it understood as JSON: `triton.py PORT MODEL`, columns on stdin.

Run by `test_clients` with the Python that has `tritonclient`; nothing of ours is imported.
"""

import json
import sys

import numpy as np
import tritonclient.http as triton

KINDS = {"BYTES": object, "INT64": np.int64, "FP64": np.float64, "BOOL": np.bool_}


def inputs(columns, binary):
    made = []
    for name, (kind, values) in columns.items():
        array = np.array(values, dtype=KINDS[kind])
        one = triton.InferInput(name, list(array.shape), kind)
        one.set_data_from_numpy(array, binary_data=binary)
        made.append(one)
    return made


def main():
    port, model = sys.argv[1:]
    columns = json.load(sys.stdin)
    client = triton.InferenceServerClient(f"127.0.0.1:{port}")
    found = {
        "ready": [client.is_server_live(), client.is_server_ready(), client.is_model_ready(model)],
        "server": client.get_server_metadata(),
        "metadata": client.get_model_metadata(model),
    }
    for binary in (False, True):
        wanted = [triton.InferRequestedOutput("prediction", binary_data=binary)]
        said = client.infer(model, inputs(columns, binary), request_id="7", outputs=wanted)
        found["binary" if binary else "json"] = {
            "id": said.get_response()["id"],
            "version": said.get_response()["model_version"],
            "prediction": said.as_numpy("prediction").reshape(-1).tolist(),
        }
    try:
        client.infer(model, inputs({name: columns[name] for name in list(columns)[:1]}, False))
    except triton.InferenceServerException as error:
        found["refused"] = error.message()
    print(json.dumps(found))


main()
