"""What goes over the wire: the bytes that keep files from being deleted, and the generated code."""

import ast
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.message import Message
from grpc_tools import protoc

import fluidctl.load
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import requests
from tests.load_kit import every_request

PROTO = "fluidctl/load/alluxio.proto"
ROOT = Path(__file__).parent.parent
# CommonOptions {syncIntervalMs: -1, ttl: -1, ttlAction: FREE} by the numbers of Alluxio's file_system_master.proto.
NO_TTL = b"\x10" + b"\xff" * 9 + b"\x01" + b"\x18\x01"
COMMON = b"\x08" + b"\xff" * 9 + b"\x01" + NO_TTL
#: Its options have no such field in Alluxio: on this way it loads with "no ttl" whatever the client says.
WITHOUT_COMMON_OPTIONS = (pb.SyncMetadataRequest,)


def test_a_listing_asks_for_no_ttl_byte_by_byte() -> None:
    """Unset, a real master deletes the files from the storage within the hour."""
    options = b"\x10\x01" + b"\x1a\x18" + COMMON + b"\x20\x00" + b"\x28\x00" + b"\x38\x01"
    expected = b"\x0a\x02/a" + b"\x12" + bytes([len(options)]) + options

    assert len(COMMON) == 0x18
    assert requests.list_status(b"/a").SerializeToString() == expected


def test_a_look_up_asks_for_no_ttl_byte_by_byte() -> None:
    """GetStatus loads too, and so has the same trap."""
    options = b"\x08\x01" + b"\x12\x18" + COMMON + b"\x20\x00"
    expected = b"\x0a\x02/a" + b"\x12" + bytes([len(options)]) + options

    assert requests.get_status(b"/a").SerializeToString() == expected


@pytest.mark.parametrize("load", [requests.ONCE, requests.ALWAYS, requests.NEVER])
@pytest.mark.parametrize("recursive", [True, False])
@pytest.mark.parametrize("sync", [True, False])
def test_every_listing_carries_the_guard_whatever_it_asks(
    load: pb.LoadMetadataType, recursive: bool, sync: bool
) -> None:
    """No combination of arguments leaves it out; only the interval of a comparison differs, which is 0."""
    made = requests.list_status(b"/", load, recursive=recursive, load_only=recursive, sync=sync)

    assert made.options.commonOptions.SerializeToString() == (b"\x08\x00" + COMMON[11:] if sync else COMMON)
    assert made.options.excludeMountInfo


def test_every_builder_there_is_asks_for_no_ttl() -> None:
    """Found by looking, so that a builder which is added without the guard fails here."""
    made = dict(every_request())

    assert {"list_status", "get_status", "sync_metadata"} <= made.keys()
    for name, request in made.items():
        assert isinstance(request, WITHOUT_COMMON_OPTIONS) or NO_TTL in common_options(request), name


def common_options(made: Message) -> bytes:
    """Return what a request says to all of Alluxio's loading methods, in bytes."""
    options = getattr(made, "options", None)
    common = getattr(options, "commonOptions", None)
    return common.SerializeToString() if isinstance(common, Message) else b""


def test_no_other_module_builds_a_request_for_files() -> None:
    """Else the guard would be a matter of memory."""
    guarded = {name for name in dir(pb) if name.endswith("Options")}
    guarded |= {name.replace("Options", "Request") for name in guarded} & set(dir(pb))
    assert {"ListStatusRequest", "GetStatusRequest", "SyncMetadataRequest", "CommonOptions"} <= guarded
    for file in Path(fluidctl.load.__path__[0]).glob("*.py"):
        calls = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
        built = {call.attr for call in calls if isinstance(call, ast.Attribute)} & guarded
        assert not built or file.name == "requests.py", file


def test_the_generated_code_is_of_this_proto(tmp_path: Path) -> None:
    """Compared as descriptors: the text differs between releases of protoc."""
    made = tmp_path / "descriptor"
    assert protoc.main(["protoc", f"--proto_path={ROOT}", f"--descriptor_set_out={made}", PROTO]) == 0
    fresh = descriptor_pb2.FileDescriptorSet.FromString(made.read_bytes()).file[0]
    for message in fresh.message_type:
        for field in [*message.field, *(field for nested in message.nested_type for field in nested.field)]:
            field.ClearField("json_name")  # which protoc adds
    generated = descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(generated)

    assert generated == fresh


def test_a_name_that_is_not_utf8_does_not_cost_the_message() -> None:
    """Paths are bytes; as strings, one such name would make a whole answer unreadable."""
    wire = b"\x0a\x08" + b"\x1a\x04/\xff\xfe\x00" + b"\x48\x01"

    (info,) = pb.ListStatusResponse.FromString(wire).fileInfos
    assert (info.path, info.folder) == (b"/\xff\xfe\x00", True)
