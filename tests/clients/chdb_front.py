"""The newest ClickHouse, in process (chdb), behind as much of its HTTP interface as dnsledger uses: one statement at a time.

python3 chdb_front.py PORT FOLDER; what PYTHONPATH names has chdb.
"""

import gzip
import os
import re
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from chdb import session

PORT, FOLDER = int(sys.argv[1]), sys.argv[2]
ENGINE, ONE_AT_A_TIME = session.Session(os.path.join(FOLDER, "data")), threading.Lock()
# What is about answering over HTTP, and not about the statement.
OF_HTTP = {"query", "database", "wait_end_of_query", "buffer_size", "insert_quorum_parallel"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_POST(self):
        params = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        try:
            with ONE_AT_A_TIME:
                answer, status = self.run(params, body), 200
        except Exception as error:
            answer, status = str(error).encode(), 500
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def run(self, params, body):
        settings = ", ".join(f"{name} = {value}" for name, value in params.items() if name not in OF_HTTP)
        if "query" in params:
            rows = os.path.join(FOLDER, "rows")
            with open(rows, "wb") as file:
                file.write(body)
            into, form = re.fullmatch(r"(INSERT INTO .+) FORMAT (\w+)", params["query"]).groups()
            ENGINE.query(f"{into} FROM INFILE '{rows}' SETTINGS {settings} FORMAT {form}")
            return b""
        statement = body.decode()
        with_form = re.fullmatch(r"(.*) FORMAT (\w+)", statement, re.DOTALL)
        statement, form = with_form.groups() if with_form else (statement, "TabSeparated")
        if statement.startswith("SELECT") and settings:
            statement += f" SETTINGS {settings}"
        return ENGINE.query(statement, form).bytes()


ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
