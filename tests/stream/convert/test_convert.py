"""Definitions in Feast's and Chronon's words become definitions that Penstock loads; what does not is said."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from penstock import (
    count,
    distinct,
    hopping,
    last,
    last_n,
    mean,
    quantile,
    sliding,
    std,
    sum,
    top_k,
    tumbling,
    variance,
)
from penstock.stream import cli
from penstock.stream.convert.chronon import from_chronon
from penstock.stream.convert.feast import from_feast
from penstock.stream.convert.written import definition
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline

FEAST = """
from datetime import timedelta
import pandas as pd
import a_package_that_nobody_has as nobody
from feast import (
    Aggregation, Entity, FeatureService, FeatureView, Field, FileSource, KafkaSource, OnDemandFeatureView, PushSource,
    RequestSource, StreamFeatureView,
)
from feast.on_demand_feature_view import on_demand_feature_view
from feast.stream_feature_view import stream_feature_view
from feast.types import Array, Float32, Int64, String

shop = Entity(name="shop", join_keys=["shop_id"])
till = Entity(name="till")
takings = FileSource(name="takings", path="data/takings.parquet", timestamp_field="at")
sold = KafkaSource(name="sold", topic="shop.sold", kafka_bootstrap_servers="x", timestamp_field="sold_at", batch_source=takings)

daily = FeatureView(
    name="daily takings", entities=[shop], ttl=timedelta(days=2), source=takings, online=True,
    schema=[
        Field(name="shop_id", dtype=Int64), Field(name="taken", dtype=Float32), Field(name="manager", dtype=String),
        Field(name="tags", dtype=Array(String)),
    ],
)
forever = FeatureView(name="forever", entities=[shop, till], source=PushSource(name="pushed", batch_source=takings),
                      schema=[Field(name="taken", dtype=Float32)], ttl=timedelta(seconds=8640000000))
sales = StreamFeatureView(
    name="sales", entities=[till], source=sold, timestamp_field="sold_at",
    aggregations=[
        Aggregation(column="price", function="sum", time_window=timedelta(hours=1), name="sum_1h"),
        Aggregation(column="price", function="avg", time_window=timedelta(days=60)),
        Aggregation(column="price", function="std", time_window=timedelta(hours=2), slide_interval=timedelta(minutes=30)),
        Aggregation(column="price", function="count", time_window=timedelta(days=1), slide_interval=timedelta(days=1)),
        Aggregation(column="item", function="count_distinct"),
        Aggregation(column="price", function="median", time_window=timedelta(hours=1)),
        Aggregation(column="price", function="sum", time_window=timedelta(hours=3), name="sum_1h"),
    ],
)
tiled = StreamFeatureView(
    name="tiled", entities=[till], source=sold, enable_tiling=True, tiling_hop_size=timedelta(minutes=10),
    aggregations=[Aggregation(column="price", function="var", time_window=timedelta(hours=1))],
)
nobodys = FeatureView(name="nobodys", entities=[], source=takings, schema=[Field(name="taken", dtype=Float32)])
timeless = FeatureView(name="timeless", entities=[shop], source=FileSource(path="x"), schema=[Field(name="y", dtype=Float32)])
schemaless = FeatureView(name="schemaless", entities=[shop], source=takings)

@on_demand_feature_view(sources=[daily, RequestSource(name="asked", schema=[])], schema=[Field(name="more", dtype=Float32)])
def more(inputs: pd.DataFrame) -> pd.DataFrame:
    return inputs

@stream_feature_view(entities=[till], source=sold, schema=[Field(name="z", dtype=Float32)])
def computed(df):
    return df.withColumn("z", 1)

service = FeatureService(name="service", features=[daily[["taken"]], more])
"""


@pytest.fixture
def feast(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "definitions.py").write_text(FEAST)
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "test_workflow.py").write_text("raise SystemExit\n")
    return folder


def loaded(text: str, folder: Path) -> Pipeline:
    (folder / "made.py").write_text(text)
    return load(folder / "made.py")


def features(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    return {view.name: dict(view.features) for view in pipeline.views}


def test_feasts_views_have_their_features_under_their_names(feast: Path, tmp_path: Path) -> None:
    pipeline = loaded(definition("shop", from_feast(feast)), tmp_path)
    assert features(pipeline) == {
        "daily_takings": {"taken": last("taken", "2d"), "manager": last("manager", "2d", holds="text")},
        "forever": {"taken": last("taken")},
        "sales": {
            "sum_1h": sum("price", "1h"),
            "avg_price": mean("price", "60d"),
            "std_price": std("price", hopping("2h", "30m")),
            "count_price": count(tumbling("1d")),
            "count_distinct_item": distinct("item"),
            "sum_1h_3h": sum("price", "3h"),
        },
        "tiled": {"var_price": variance("price", sliding("1h", "10m"))},
    }
    keys = {view.name: (view.source.name, view.key_fields) for view in pipeline.views}
    assert keys == {
        "daily_takings": ("takings", ("shop_id",)),
        "forever": ("pushed", ("shop_id", "till")),
        "sales": ("shop.sold", ("till",)),
        "tiled": ("shop.sold", ("till",)),
    }
    assert {s.name: s.time for s in pipeline.sources} == {
        "takings": "at", "pushed": "at", "shop.sold": "sold_at", "shop.requests": "requested_at",
    }  # fmt: skip


def test_what_of_feast_is_not_converted_is_said_with_the_reason(feast: Path) -> None:
    found = from_feast(feast)
    assert {what: why.partition(":")[0] for what, why in found.left.items()} == {
        "view daily takings, field tags": "it is a Array, and a feature is a number, or text in documents",
        "view sales, aggregation median_price": "there is no median",
        "view nobodys": "it has no entity",
        "view timeless": "its source names no timestamp_field",
        "view schemaless": "it has no schema",
        "on-demand view more": "its Python function runs when a request comes",
        "view computed": "its values come of a Python function that Feast runs",
        "feature service service": "a model reads all features of its pipeline's views",
        "file broken.py": "it does not run",
    }
    text = definition("shop", found)
    assert all(f"# - {what}: {why}" in text for what, why in found.left.items())
    assert any("forever.taken lives for ever" in note for note in found.notes)


def test_a_conversion_leaves_the_process_as_it_was(feast: Path) -> None:
    modules, path, finders, where = dict(sys.modules), list(sys.path), list(sys.meta_path), Path.cwd()
    from_feast(feast)
    assert sys.modules == modules and sys.path == path and sys.meta_path == finders and Path.cwd() == where
    with pytest.raises(ImportError):
        __import__("a_package_that_nobody_has")


CHRONON = """
from ai.chronon.api.ttypes import EntitySource, EventSource, Source
from ai.chronon.group_by import Aggregation, Aggregations, GroupBy, Operation, TimeUnit, Window
from ai.chronon.query import Query, select

def events(**more):
    query = dict(selects=select("shop", "price", who="buyer", net="price * 0.8"), time_column="ts")
    return Source(events=EventSource(table="data.sold", topic="shop.sold/fields=ts/host=kafka", query=Query(**{**query, **more})))

day, hours = Window(length=1, timeUnit=TimeUnit.DAYS), Window(12, TimeUnit.HOURS)
v1 = GroupBy(
    sources=[events()], keys=["shop"], online=True,
    aggregations=[
        Aggregation(input_column="price", operation=Operation.SUM, windows=[day, hours]),
        Aggregation(input_column="price", operation=Operation.COUNT),
        Aggregation(input_column="who", operation=Operation.APPROX_UNIQUE_COUNT, windows=[day]),
        Aggregation(input_column="price", operation=Operation.LAST_K(3)),
        Aggregation(input_column="price", operation=Operation.APPROX_PERCENTILE([0.5, 0.99], k=200), windows=[day]),
        Aggregation(input_column="who", operation=Operation.APPROX_HISTOGRAM_K(5)),
        Aggregation(input_column="price", operation=Operation.VARIANCE),
        Aggregation(input_column="price", operation=Operation.SKEW),
        Aggregation(input_column="net", operation=Operation.SUM),
        Aggregation(input_column="price", operation=Operation.SUM, buckets=["who"]),
    ],
)
by_buyer = GroupBy(sources=events(), keys=["who"], aggregations=Aggregations(price=Aggregation(operation=Operation.AVERAGE)))
filtered = GroupBy(sources=events(wheres=["price > 0"]), keys=["shop"], aggregations=v1.aggregations)
computed = GroupBy(sources=events(time_column="UNIX_TIMESTAMP(ts)"), keys=["shop"], aggregations=[])
by_net = GroupBy(sources=events(), keys=["net"], aggregations=[Aggregation("price", Operation.SUM)])
users = GroupBy(sources=[Source(entities=EntitySource(snapshotTable="data.users"))], keys=["who"], aggregations=None)
"""
JOIN = """
from ai.chronon.api.ttypes import EventSource, Source
from ai.chronon.join import Join, JoinPart
from ai.chronon.query import Query, select
from group_bys.shop.sold import by_buyer, v1

left = Source(events=EventSource(table="data.checkouts", query=Query(selects=select("buyer", "till"), time_column="paid_at")))
training = Join(left=left, right_parts=[JoinPart(group_by=one) for one in (v1, by_buyer)])
again = Join(left=left, right_parts=[])
"""


@pytest.fixture
def chronon(tmp_path: Path) -> Path:
    for path, text in (("group_bys/shop/sold.py", CHRONON), ("joins/shop/training.py", JOIN)):
        (tmp_path / "repo" / path).parent.mkdir(parents=True)
        (tmp_path / "repo" / path).write_text(text)
    return tmp_path / "repo"


def test_chronons_group_bys_have_their_columns_as_features(chronon: Path, tmp_path: Path) -> None:
    pipeline = loaded(definition("shop", from_chronon(chronon)), tmp_path)
    assert features(pipeline) == {
        "shop_sold_v1": {
            "price_sum_1d": sum("price", "1d"),
            "price_sum_12h": sum("price", "12h"),
            "price_count": count(where="price == price"),
            "who_approx_unique_count_1d": distinct("buyer", "1d"),
            "price_last3": last_n("price", 3),
            "price_p50_1d": quantile("price", 0.5, "1d"),
            "price_p99_1d": quantile("price", 0.99, "1d"),
            "who_approx_histogram_k5": top_k("buyer", 5),
            "price_variance": variance("price"),
        },
        "shop_sold_by_buyer": {"price_average": mean("price")},
    }
    assert [view.key_fields for view in pipeline.views] == [("shop",), ("buyer",)]
    predict = pipeline.predict
    assert (predict.name, predict.time, predict.key) == ("data.checkouts", "paid_at", "buyer")


def test_what_of_chronon_is_not_converted_is_said_with_the_reason(chronon: Path) -> None:
    found = from_chronon(chronon)
    assert {what: why.partition(":")[0] for what, why in found.left.items()} == {
        "group-by shop.sold.v1, SKEW of price": "there is no SKEW",
        "group-by shop.sold.v1, SUM of net": "SQL computes net, or it is not selected",
        "group-by shop.sold.v1, SUM of price": "it is one value for each bucket",
        "group-by shop.sold.filtered": "SQL filters its events (price > 0)",
        "group-by shop.sold.computed": "its time is 'UNIX_TIMESTAMP(ts)', which is no field",
        "group-by shop.sold.by_net": "SQL computes its key net",
        "group-by shop.sold.users": "it reads a table of snapshots, not events",
        "join shop.training.again": "a pipeline predicts one source's events, here data.checkouts",
    }
    assert "a variance is divided by n - 1, and Chronon's by n" in found.notes


@pytest.mark.parametrize("part", ["", "group_bys", "group_bys/shop", "group_bys/shop/sold.py"])
def test_a_part_of_a_repository_is_converted_by_itself(chronon: Path, part: str) -> None:
    assert list(from_chronon(chronon / part).views) == ["shop_sold_v1", "shop_sold_by_buyer"]


def test_the_commands_print_a_definition_and_say_by_their_exit_codes_how_much_of_it_is_there(
    feast: Path, chronon: Path, tmp_path: Path, capsys: Any
) -> None:
    assert cli.main(["from-feast", str(feast), "--name", "shop"]) == 1
    told = capsys.readouterr()
    assert "9 things were not converted" in told.err and loaded(told.out, tmp_path).name == "shop"
    assert cli.main(["from-chronon", str(chronon)]) == 1
    assert loaded(capsys.readouterr().out, tmp_path).name == "repo"
    (tmp_path / "one.py").write_text(
        "from feast import *\nfrom feast import Entity, FeatureView, Field, FileSource\nfrom feast.types import Float32\n"
        "one = FeatureView(name='one', entities=[Entity(name='a')], schema=[Field(name='b', dtype=Float32)],\n"
        "                  source=FileSource(name='c', timestamp_field='t'))\n"
    )
    assert cli.main(["from-feast", str(tmp_path / "one.py")]) == 0
    assert "Not converted" not in capsys.readouterr().out
    (tmp_path / "none.py").write_text("1 / 0")
    assert cli.main(["from-feast", str(tmp_path / "none.py")]) == 2
    assert "file none.py: it does not run: ZeroDivisionError" in capsys.readouterr().err
    assert cli.main(["from-feast", str(tmp_path / "nowhere")]) == 2
