"""Terraform's plugin protocol 6, as Python messages, with write-only arguments.

The published protobufs (PyPI `tf`) stop before protocol 6.8, which brought ``write_only``. Field 11 is added to
their descriptor here, in a pool of its own, so the published module stays as it is.
"""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tf.gen import tfplugin_pb2

WRITE_ONLY_FIELD = 11  # docs/plugin-protocol/tfplugin6.8.proto of Terraform: Schema.Attribute.write_only


def extended_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto()
    tfplugin_pb2.DESCRIPTOR.CopyToProto(file)
    schema = next(message for message in file.message_type if message.name == "Schema")
    attribute = next(message for message in schema.nested_type if message.name == "Attribute")
    attribute.field.add(
        name="write_only",
        number=WRITE_ONLY_FIELD,
        type=descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
        label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
    )
    return file


POOL = descriptor_pool.DescriptorPool()
POOL.Add(extended_file())
PACKAGE = POOL.FindFileByName(tfplugin_pb2.DESCRIPTOR.name).package


def message(name: str) -> Any:
    """The message class of a dotted name, such as ``Schema.NestedBlock``."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


def service(servicer: Any) -> grpc.GenericRpcHandler:
    """Register every method of the Provider service that *servicer* has."""
    descriptor = POOL.FindServiceByName(f"{PACKAGE}.Provider")
    handlers = {}
    for method in descriptor.methods:
        if not hasattr(servicer, method.name):
            continue
        request = message_factory.GetMessageClass(method.input_type)
        response = message_factory.GetMessageClass(method.output_type)
        handlers[method.name] = grpc.unary_unary_rpc_method_handler(
            getattr(servicer, method.name),
            request_deserializer=request.FromString,
            response_serializer=response.SerializeToString,
        )
    return grpc.method_handlers_generic_handler(descriptor.full_name, handlers)
