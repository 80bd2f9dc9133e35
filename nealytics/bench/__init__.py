"""`nealytics bench`: what this machine can do, as ratios that travel to others.

    load.py         the load generator: closed loop, keep-alive connections, no pipelining; own process
    baseline.py     an aiohttp application that reads the body, answers 202 and does nothing; own process
    processes.py    starts those and the real product on temporary data, and ends them
    runs.py         rounds of ingest in alternation, and what came out
    events.py       the millions of events that reads are measured on
    questions.py    what is asked of them
    read_server.py  the read API over them; own process
    read.py         each question through the API and straight to the engine, in alternation

Events per second mean little on their own: another machine, another number. So each run measures the product
and what it is compared with in turns (A B A B …) on the same cores, with the same load, and prints the ratio.
All is on loopback, bounded in time and number, and leaves nothing behind unless it is told to keep its data.
"""
