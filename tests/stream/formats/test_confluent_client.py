"""What Confluent's own serializers write is read as it was meant. Runs where their registry client is installed:

pip install 'confluent-kafka[schemaregistry,avro,json,protobuf]'
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.message_factory import GetMessageClass

from penstock.stream.featurize.decode import SourceDecoder
from penstock.stream.formats.reading import reader_of
from penstock.stream.formats.registry import HttpRegistry
from penstock.stream.formats.schemas import Schemas
from penstock.stream.process.settings import Settings
from tests.schema_registry import RegistryServer
from tests.stream.formats.paid import PAYMENT, START_MS, V1, pipeline, record, source
from tests.stream.formats.test_unreadable import EVENT

pytest.importorskip("authlib")


def serialized(form: str, registry: str) -> bytes:
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.avro import AvroSerializer
    from confluent_kafka.schema_registry.json_schema import JSONSerializer
    from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
    from confluent_kafka.serialization import MessageField, SerializationContext

    client, where = SchemaRegistryClient({"url": registry}), SerializationContext("paid", MessageField.VALUE)
    said: Any = EVENT
    if form == "avro":
        return bytes(AvroSerializer(client, json.dumps(V1))(said, where) or b"")
    if form == "jsonschema":
        return bytes(JSONSerializer('{"title": "Payment", "type": "object"}', client)(said, where) or b"")
    message = GetMessageClass(PAYMENT)(**{name: one for name, one in EVENT.items() if name != "at"})
    message.at.FromMilliseconds(START_MS)
    write = ProtobufSerializer(type(message), client, {"use.deprecated.format": False})
    return bytes(write(message, where) or b"")


@pytest.mark.parametrize("form", ["avro", "jsonschema", "protobuf"])
def test_what_confluents_serializers_write_is_the_event_that_it_was(form: str) -> None:
    with RegistryServer() as server:
        value = serialized(form, server.url)
        of = source(form)
        schemas = Schemas(HttpRegistry(Settings(schema_registry=server.url)))
        (item,) = SourceDecoder(pipeline(of), of, reader_of(of, schemas)).items([record(value)], -1)
    assert item.event == EVENT, item.reject
