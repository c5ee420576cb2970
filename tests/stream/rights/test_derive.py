"""What each role may do, derived from a definition: names, prefixes, patterns, and lines that servers take."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
from pathlib import Path

import pytest

from penstock.features.redis import keys
from penstock.stream import cli, topology
from penstock.stream.definition_file import load
from penstock.stream.definitions import Pipeline
from penstock.stream.flink import tables
from penstock.stream.flink.opening import keys_of
from penstock.stream.rights.derive import rights_of
from penstock.stream.rights.printed import kafka_lines, valkey_lines
from penstock.stream.rights.right import KafkaRight, Rights, group, merged, topic, transactions

ROOT = Path(__file__).parents[3]


def pipeline(name: str = "cards") -> Pipeline:
    return load(ROOT / "examples" / f"{name}.py")


def by_name(made: Pipeline, prefix: str = "") -> dict[str, Rights]:
    return {one.name: one for one in rights_of(made, prefix)}


def test_every_name_that_penstock_owns_carries_the_prefix_and_sources_do_not() -> None:
    for user in rights_of(pipeline(), "staging."):
        for right in user.kafka:
            assert right.name.startswith("staging.") != (right.name == "cards.payments"), right
        for key in user.keys:
            assert not key.pattern or "staging.cards" in key.pattern, key


def test_every_topic_that_is_owned_is_written_by_some_role_and_read_by_the_viewer() -> None:
    users = by_name(pipeline())
    owned = {one.name for one in topology.owned("cards")}
    roles = ("featurize", "learn", "control", "console")
    written = {right.name for role in roles for right in users[role].kafka if "Write" in right.operations}
    assert owned <= written
    read = {right.name for right in users["viewer"].kafka if "Read" in right.operations}
    assert owned <= read
    viewer = users["viewer"]
    assert not any("Write" in right.operations for right in viewer.kafka)
    assert {key.access for key in viewer.keys} == {"read"}
    assert {*viewer.commands} == {"client|setinfo", "hget", "hkeys", "mget", "scan"}


def test_only_a_console_where_people_act_may_ask_and_send_dead_letters_back() -> None:
    users = by_name(pipeline())
    writes = {right.name for right in users["console"].kafka if "Write" in right.operations}
    assert writes == {"control.commands", "cards.payments"}
    assert users["console"].keys == users["viewer"].keys


def test_no_role_may_write_what_another_alone_writes() -> None:
    users = by_name(pipeline())
    writes = {
        name: {right.name for right in users[name].kafka if "Write" in right.operations}
        for name in ("featurize", "learn", "control", "producer")
    }
    assert writes["featurize"] & writes["learn"] == {"cards.samples", "control.alerts"}
    assert writes["control"] == {"cards.samples", "control.decisions", "cards.control-policy-changelog"}
    assert writes["producer"] == {"cards.payments"} and not users["serve"].kafka
    assert not any(
        "Delete" in right.operations for name in users if name != "admin" for right in users[name].kafka
    )


def test_keys_of_another_pipeline_whose_name_begins_alike_match_no_pattern() -> None:
    """`cards` and `cards2` share a Redis: what one may touch the other's keys are not."""
    others = [
        "penstock:cards2:0:state:card@1:7", "penstock:cards2:learn:snapshot", "features:cards2", "features:cards2:card:7",
        "penstock:cards2:versions", "model:cards2", "penstock:cards2:identity",
    ]  # fmt: skip
    for user in rights_of(pipeline()):
        for right in user.keys:
            glob = re.compile(
                "".join(
                    ".*" if one == "*" else one if one in "[]-09" else re.escape(one) for one in right.pattern
                )
                + r"\Z"
            )
            assert not [key for key in others if glob.match(key)], (user.name, right)


def test_featurize_keeps_its_hands_off_what_learn_keeps_whichever_way_it_is_split() -> None:
    for name, mine in (("cards", "penstock:cards:0:state:x"), ("flights", "penstock:flights:all:state:x")):
        made = pipeline(name)
        patterns = [
            key.pattern for key in by_name(made)["featurize"].keys if key.pattern.startswith("penstock:")
        ]
        globs = [re.compile(one.replace("*", ".*") + r"\Z") for one in patterns]
        assert any(glob.match(mine) for glob in globs)
        for theirs in (
            f"penstock:{name}:learn:state:piece:1",
            f"penstock:{name}:versions",
            f"penstock:{name}:serving",
        ):
            assert not any(glob.match(theirs) for glob in globs), theirs


def test_only_a_definition_with_challengers_has_a_user_for_their_race() -> None:
    from river import linear_model

    made = pipeline()
    racing = Pipeline(
        made.name, made.views, made.predict, made.label, made.model, made.inputs,
        challengers={"plain": linear_model.LogisticRegression()},
    )  # fmt: skip
    assert "challenge" not in by_name(made)
    assert topic("control.models", "Read") in by_name(racing)["challenge"].kafka


@pytest.mark.parametrize("name", ["cards", "flights"])
def test_a_bootstrap_writes_what_featurize_writes_and_keeps_what_learn_keeps_and_tells_nobody(
    name: str,
) -> None:
    made = pipeline(name)
    users = by_name(made, "staging.")
    mine, featurize, learn = (users[one] for one in ("bootstrap", "featurize", "learn"))
    kept = {one.pattern for one in mine.keys if one.access == "both"}
    theirs = {one.pattern for user in (featurize, learn) for one in user.keys if one.access == "both"}
    expiring = f"penstock:staging.{name}:reached"  # which only workers that share partitions write
    assert theirs - kept <= {expiring} and kept - theirs == {f"penstock:staging.{name}:bootstrap:*"}
    writes = {right.name for right in mine.kafka if "Write" in right.operations}
    assert writes == {
        f"staging.{name}.samples", f"staging.{name}.dead-letters", f"staging.{name}.history", "staging.control.models",
    }  # fmt: skip
    for source in made.sources:
        assert topic(source.name, "Describe") in mine.kafka
    [elsewhere] = [one.pattern for one in mine.keys if one.pattern.endswith(":position")]
    assert elsewhere == f"penstock:staging.{name}:" + ("all" if made.partitioned else "[0-9]*") + ":position"


def options(table: str) -> dict[str, str]:
    """The options of a table of Flink's."""
    return dict(re.findall(r"'([^']+)' = '([^']*)'", table))


@pytest.mark.parametrize("name", ["cards", "flights"])
def test_a_job_on_flink_may_read_and_write_what_its_tables_name_and_nothing_else(name: str) -> None:
    made = pipeline(name)
    mine = by_name(made, "staging.")["flink"]
    source = options(tables.source_table(made, {}))
    sink = options(tables.sink_table(made, "staging.", {}))
    assert "properties.group.id" not in source and sink["sink.delivery-guarantee"] == "exactly-once"
    assert {*mine.kafka} == {
        *(topic(one, "Read") for one in source["topic"].split(";")),
        *(topic(one, "Write") for one in sink["topic"].split(";")),
        transactions(sink["sink.transactional-id-prefix"], "Write"),
    }


@pytest.mark.parametrize("name", ["cards", "flights"])
def test_a_job_on_flink_may_touch_the_keys_that_it_asks_for_and_writes(name: str) -> None:
    made, deployed = pipeline(name), f"staging.{name}"
    mine = by_name(made, "staging.")["flink"]

    def allowed(key: str, access: str) -> bool:
        rules = [one.pattern for one in mine.keys if one.access in ("both", access)]
        return any(fnmatch.fnmatchcase(key, rule) for rule in rules)

    for key in keys_of(made, ((0, 0), (0, 11)), "staging."):
        assert allowed(key, "read"), key
    for view in made.views:
        assert allowed(keys.state_key(deployed, "all", view.name, view.version, "e"), "write")
        assert allowed(keys.public_key(deployed, view.name, "e"), "write")
    for key in (keys.definition_key(deployed, "all"), keys.live_key(deployed), keys.began_key(deployed)):
        assert allowed(key, "write")
    for key in (
        f"penstock:{deployed}:0:position",
        f"penstock:{deployed}:learn:snapshot",
        f"penstock:{deployed}:versions",
    ):
        assert not allowed(key, "write")


def test_the_same_topic_is_one_right_and_groups_of_readers_follow_the_client_id() -> None:
    both = merged([topic("a", "Read"), group("a", "Read"), topic("a", "Write", "Read")])
    assert both == (topic("a", "Read", "Write"), group("a", "Read"))
    learn = next(one for one in rights_of(pipeline(), "p.", "mine") if one.name == "learn")
    assert KafkaRight("group", "mine-reader-", ("Describe",), prefixed=True) in learn.kafka


def test_lines_are_quoted_for_a_shell_and_hold_no_password() -> None:
    users = rights_of(pipeline())
    for line in kafka_lines(users, "o'hara-"):
        words = shlex.split(line)
        assert words[0] == "kafka-acls.sh" and any(word.startswith("User:o'hara-") for word in words)
        assert "--cluster" not in words
        assert "--transactional-id" not in words or "User:o'hara-flink" in words
    for line in valkey_lines(users, "cards-"):
        assert line.startswith("ACL SETUSER cards-") and " reset on " in line
        assert not re.search(r" [>#]|nopass|allkeys|allcommands|\+@|~\*", line), line


def test_the_command_prints_every_form_and_refuses_a_user_that_there_is_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = str(ROOT / "examples" / "cards.py")
    assert cli.main(["acls", file, "--role", "serve"]) == 0
    assert "it needs no Kafka" in capsys.readouterr().out
    assert cli.main(["acls", file, "--json", "--principal-prefix", "team-"]) == 0
    found = {one["user"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["team-producer"]["kafka"] == [
        {"resource": "topic", "name": "cards.payments", "pattern": "literal", "operations": ["Write"]}
    ]
    with pytest.raises(SystemExit, match=r"--role judge: there is no such user; there are: featurize, learn"):
        cli.main(["acls", file, "--role", "judge"])
