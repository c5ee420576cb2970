"""The text of a `.proto` file, as a registry has it → its descriptor, by Google's own compiler.

Laws of this file:
- A file sees the files that it refers to, Google's well-known ones and Confluent's two, and no others: it is compiled in a
  folder of its own that is gone afterwards. A machine that cannot do this raises `OSError`.
- Each set of files has a pool of its own: two versions of a schema may name their messages alike.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from penstock.stream.formats.avro import UnusableSchema
from penstock.stream.formats.missing import extra

_MAIN, _MADE = "penstock_schema.proto", "made.pb"
MOST_S = 20.0
_CONFLUENT = {
    "confluent/type/decimal.proto": 'syntax = "proto3"; package confluent.type;\n'
    "message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }",
    "confluent/meta.proto": """syntax = "proto3"; package confluent;
import "google/protobuf/descriptor.proto";
message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3; }
extend google.protobuf.FileOptions { Meta file_meta = 1088; }
extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }
""",
}


def file_of(text: str, referred: Mapping[str, str]) -> Any:
    """The descriptor of a file; `referred` has the text of the files that it imports, by name. Raises `UnusableSchema`."""
    main = _serialized(text)
    if main is None:
        files = _compiled(_MAIN, text, referred)
    else:
        files = [*_imported(main, referred), main]
    pool = extra("google.protobuf.descriptor_pool").DescriptorPool()
    try:
        for one in files:
            pool.AddSerializedFile(one.SerializeToString())
        return pool.FindFileByName(files[-1].name)
    except Exception as error:  # whatever a schema provokes is that schema's
        raise UnusableSchema(f"no Protobuf schema: {str(error)[:200]}") from None


def _serialized(text: str) -> Any:
    """The file, where its text is a serialized descriptor in base64, as Confluent's client for Python registers it."""
    if any(sign in text for sign in ' ;{"\n'):
        return None
    try:
        return extra("google.protobuf.descriptor_pb2").FileDescriptorProto.FromString(
            b64decode(text, validate=True)
        )
    except Exception:  # no base64, or no descriptor
        return None


def _imported(main: Any, referred: Mapping[str, str]) -> list[Any]:
    """The files that a serialized one imports, in the order in which they build on each other."""
    found: dict[str, Any] = {}
    texts = {name: inner for name, inner in referred.items() if _serialized(inner) is None}
    known = "".join(f'import "{name}";\n' for name in main.dependency if name not in referred)
    made = _compiled(_MAIN, f'syntax = "proto3";\n{known}', {})[:-1]
    for name, inner in referred.items():
        if (one := _serialized(inner)) is None:
            made += _compiled(name, inner, texts)
        else:
            one.name = name
            made.append(one)
    for one in made:
        found.setdefault(one.name, one)
    return list(found.values())


def _compiled(name: str, text: str, referred: Mapping[str, str]) -> list[Any]:
    """The files in the order in which they build on each other, the one of this name and text last."""
    known = Path(extra("grpc_tools").__file__).parent / "_proto"
    with tempfile.TemporaryDirectory(prefix="penstock-proto-") as folder:
        here = Path(folder)
        for path, inner in {**_CONFLUENT, **referred, name: text}.items():
            parts = PurePosixPath(path)
            if parts.is_absolute() or ".." in parts.parts:
                raise UnusableSchema(f"it refers to a file named {path[:80]!r}")
            (here / parts).parent.mkdir(parents=True, exist_ok=True)
            (here / parts).write_text(inner)
        line = [
            sys.executable,
            "-P",
            "-m",
            "grpc_tools.protoc",
            f"-I{here}",
            f"-I{known}",
            "--include_imports",
        ]
        line += [f"--descriptor_set_out={here / _MADE}", name]
        try:
            done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=MOST_S)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"Google's compiler did not end within {MOST_S:g} s") from None
        if done.returncode != 0:
            said = done.stderr.replace(f"{here}/", "").replace(_MAIN, "line").strip()
            raise UnusableSchema(f"no Protobuf schema: {' '.join(said.split())[:300]}")
        files = extra("google.protobuf.descriptor_pb2").FileDescriptorSet.FromString(
            (here / _MADE).read_bytes()
        )
        return list(files.file)
