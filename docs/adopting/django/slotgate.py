# The contract with slotgate, for a database that Django migrates: a small server on INTERNAL_PORT, in the process of the app.
import json
import os
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

# Django numbers the migrations of each app for itself. The number of the whole schema is that of the newest migration of
# this app, which has no models: each of its migrations is a name for what it depends on.
MARKER = "schema_version"

# Django takes no lock while it migrates, so POST /migrations/run takes this one. Any two numbers of your own will do.
LOCK = [77, 13]

FACTS = """
    SELECT pg_is_in_recovery(), md5(system_identifier || ':' || d.oid),
        EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.database = d.oid AND l.granted
            AND l.classid = %s AND l.objid = %s AND l.objsubid = 2)
    FROM pg_control_system() JOIN pg_database d ON d.datname = current_database()
"""


class Standby(Exception):
    pass


def number_of(name):
    return int(name.split("_")[0])


def status():
    # One snapshot for all of it, and not a word is written.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SET LOCAL statement_timeout = '1s'")
        cursor.execute(FACTS, LOCK)
        standby, database_id, running = cursor.fetchone()
        recorded = set(MigrationRecorder(connection).applied_migrations())
        loader = MigrationLoader(connection)
    if standby:
        raise Standby("the database is a standby; its answer could be old")

    # The number and the digest are those of the database; what has run, squashed or not, is as this release sees it.
    current = max((number_of(name) for app, name in recorded if app == MARKER), default=0)
    applied = set(loader.applied_migrations)
    declared = json.loads(Path(__file__).with_name("compat.json").read_text())
    problems = problems_of(loader.graph, applied, current)
    answer = {
        "current_schema_version": current,
        "code_min_schema_version": declared["min"],
        "code_max_schema_version": declared["max"],
        "compatible": declared["min"] <= current <= declared["max"] and not problems,
        "pending_migrations": [".".join(node) for node in plan(loader.graph) if node not in applied],
        "problems": problems,
        "migration_running": running,
        "database_id": database_id,
        "schema_digest": sha256(repr(sorted(recorded)).encode()).hexdigest(),
        "boot_id": os.environ.get("SLOTGATE_BOOT_ID"),
        "release": os.environ.get("SLOTGATE_RELEASE"),
    }
    return {field: value for field, value in answer.items() if value is not None}


def plan(graph):
    """Every migration of this release, in the order in which it runs."""
    nodes = {}
    for leaf in graph.leaf_nodes():
        nodes.update(dict.fromkeys(graph.forwards_plan(leaf)))
    return list(nodes)


def problems_of(graph, applied, current):
    """What the number alone would hide: a migration without a number, and one that came in below the current number."""
    markers = [node for node in plan(graph) if node[0] == MARKER]
    numbered = {node for marker in markers for node in graph.forwards_plan(marker)}
    due = {node for marker in markers if number_of(marker[1]) <= current for node in graph.forwards_plan(marker)}
    return [
        {"code": "unnumbered", "sentence": f"No migration of {MARKER} depends on {'.'.join(node)}."}
        for node in plan(graph)
        if node not in numbered
    ] + [
        {"code": "hole", "sentence": f"{'.'.join(node)} has not run, but schema {current} is there."}
        for node in sorted(due - applied)
    ]


def run_migrations():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", LOCK)
        if not cursor.fetchone()[0]:
            return 409, {"error": "another run is migrating"}
    try:
        call_command("migrate", interactive=False)
    except Exception as error:
        return 422, {"error": str(error)}
    finally:
        connection.close()  # and the lock goes with it
    return 200, status()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200, {"healthy": True})
        elif self.path == "/schema/status":
            self.attempt(lambda: (200, status()))
        else:
            self.answer(404, {"error": "there is nothing here"})

    def do_POST(self):
        if self.path != "/migrations/run":
            self.answer(404, {"error": "there is nothing here"})
        elif "Origin" in self.headers:
            # A web page that the operator has open must not migrate; browsers name the page in every POST.
            self.answer(403, {"error": "not from a web page"})
        else:
            self.attempt(run_migrations)

    def attempt(self, work):
        try:
            code, body = work()
        except (DatabaseError, Standby) as error:
            code, body = 503, {"error": str(error)}
        finally:
            connection.close()  # each request has a thread of its own, and so a connection
        self.answer(code, body)

    def answer(self, code, body):
        content = json.dumps(body).encode() + b"\n"
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_request(self, code="-", size="-"):
        pass  # slotgate asks every few seconds


def listen():
    """Does nothing where slotgate did not start the process, in a shell for example."""
    if "INTERNAL_PORT" not in os.environ:
        return
    address = os.environ.get("HOST", "127.0.0.1"), int(os.environ["INTERNAL_PORT"])
    Thread(target=ThreadingHTTPServer(address, Handler).serve_forever, daemon=True).start()
