"""`nealytics bench`: what this machine can do, as ratios that are comparable between machines.

    load.py         the load generator: closed loop, keep-alive connections, no pipelining; separate process
    baseline.py     an aiohttp application that only reads the body and answers 202; separate process
    processes.py    starts these and the product with temporary data, and ends them
    runs.py         alternating rounds of ingest, and their results
    events.py       the generated events that reads are measured with
    questions.py    the queries
    read_server.py  the read API over them; separate process
    read.py         each query through the API and directly to the engine, alternately

Events per second depend on the machine. So each run measures the product and its counterpart alternately (A B
A B …) on the same cores, with the same load, and prints the ratio. Everything runs on loopback, is bounded in
time and number, and removes its data unless told to keep it.
"""
