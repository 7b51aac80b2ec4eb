# One process with threads: slotgate.py listens in it, too.
import os

bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', 8000)}"
wsgi_app = "wsgi"
workers = 1
threads = 8


def post_worker_init(worker):
    import slotgate

    slotgate.listen()
