"""What a Qdrant server answers, by HTTP: requests are passed on to a client in local mode."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from qdrant_client import QdrantClient, models

# Of each request the method and what stands behind the collection's name.
ROUTES = {
    ("GET", ""): lambda client, name, body: client.get_collection(name),
    ("GET", "/exists"): lambda client, name, body: {"exists": client.collection_exists(name)},
    ("PUT", ""): lambda client, name, body: client.create_collection(
        name,
        vectors_config={
            key: models.VectorParams(**value) for key, value in body["vectors"].items()
        },
        metadata=body.get("metadata"),
    ),
    ("PUT", "/points"): lambda client, name, body: client.upsert(
        name, [models.PointStruct(**point) for point in body["points"]]
    ),
    ("POST", "/points"): lambda client, name, body: client.retrieve(
        name, body["ids"], with_payload=body["with_payload"], with_vectors=body["with_vector"]
    ),
    ("POST", "/points/delete"): lambda client, name, body: client.delete(
        name, models.PointIdsList(**body)
    ),
    ("POST", "/points/count"): lambda client, name, body: client.count(name, exact=body["exact"]),
    ("POST", "/points/scroll"): lambda client, name, body: dict(
        zip(
            ("points", "next_page_offset"),
            client.scroll(
                name,
                limit=body["limit"],
                offset=body.get("offset"),
                with_payload=body["with_payload"],
                with_vectors=body["with_vector"],
            ),
        )
    ),
    ("POST", "/points/query/batch"): lambda client, name, body: client.query_batch_points(
        name, [models.QueryRequest(**search) for search in body["searches"]]
    ),
}


@contextmanager
def qdrant_server():
    """A server and its address. It has `requests`: method, route and content of each."""
    client, lock = QdrantClient(":memory:"), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else {}
            path, _, options = self.path.partition("?")
            _, _, name, *route = path.split("/")
            route = "/".join(["", *route])
            self.server.requests.append((self.command, f"{route}?{options}".rstrip("?"), body))
            try:
                with lock:
                    found = ROUTES[self.command, route](client, name, body)
                status, content = 200, {"time": 0, "status": "ok", "result": found}
            except ValueError as error:
                status, content = 400, {"time": 0, "status": {"error": str(error)}}
            answer = json.dumps(content, default=lambda model: model.model_dump(mode="json"))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer.encode())))
            self.end_headers()
            self.wfile.write(answer.encode())

        do_PUT = do_POST = do_GET

        def log_message(self, *args):
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests = []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server, f"qdrant+http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        client.close()
