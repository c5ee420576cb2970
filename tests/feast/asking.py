"""Run by the Python that has Feast, in a repository's folder: applies it, asks for features, prints the answers as JSON."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas
from feast import FeatureStore
from feast.repo_config import load_repo_config
from feast.repo_operations import apply_total

if __name__ == "__main__":
    folder = Path.cwd()
    apply_total(load_repo_config(folder, folder / "feature_store.yaml"), folder, skip_source_validation=True)
    store = FeatureStore(repo_path=str(folder))
    said = []
    for features, rows in json.loads(sys.stdin.read()):
        found = store.get_online_features(features=features, entity_rows=rows)
        statuses = {
            name: [int(one) for one in of_name.statuses]
            for name, of_name in zip(found.proto.metadata.feature_names.val, found.proto.results, strict=True)
        }
        said.append({"values": found.to_dict(), "statuses": statuses})
    row = {"depot": ["d1"], "done_at": [datetime.now(UTC)], "late_3h": [1.0], "all": [1.0], "last": [1.0]}
    try:
        store.write_to_online_store("depot", pandas.DataFrame(row))
    except NotImplementedError as error:
        said.append(str(error))
    print(json.dumps(said))
