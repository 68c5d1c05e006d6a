"""Learns everything from reflection, like a client that was never told of our protos; prints what it found as JSON.

    reflection-client.py ADDRESS v1|v1alpha
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

address, version = sys.argv[1:]
channel = grpc.insecure_channel(address)


class Renamed:
    """The same messages go by another name in v1, of which the package has no client."""

    def __getattr__(self, kind):
        make = getattr(channel, kind)
        return lambda path, *args, **options: make(path.replace(".v1alpha.", f".{version}."), *args, **options)


database = ProtoReflectionDescriptorDatabase(Renamed())
pool = descriptor_pool.DescriptorPool(database)


def call(method, *requests):
    request = message_factory.GetMessageClass(method.input_type)
    response = message_factory.GetMessageClass(method.output_type)
    shape = ("stream" if method.client_streaming else "unary") + ("_stream" if method.server_streaming else "_unary")
    path = f"/{method.containing_service.full_name}/{method.name}"
    stub = getattr(channel, shape)(
        path, request_serializer=request.SerializeToString, response_deserializer=response.FromString
    )
    messages = [request(**fields) for fields in requests]
    answer = stub(iter(messages) if method.client_streaming else messages[0], timeout=20)
    return list(answer) if method.server_streaming else answer


found = {"services": sorted(database.get_services()), "calls": {}, "read": {}}
for name in found["services"]:
    if ".castore." not in name and ".store." not in name:
        continue
    service = pool.FindServiceByName(name)
    for method in service.methods:
        try:
            call(method, {})
            status = "OK"
        except grpc.RpcError as error:
            status = error.code().name
        found["calls"][method.full_name] = status
    if name.endswith("BlobService"):
        methods = service.methods_by_name
        stored = call(methods["Put"], {"data": b"x86_64"}, {"data": b"-linux"})
        pieces = call(methods["Read"], {"digest": stored.digest})
        found["read"][name] = b"".join(piece.data for piece in pieces).decode()
print(json.dumps(found))
