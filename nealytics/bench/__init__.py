"""`nealytics bench`: what this machine can do, as ratios that travel to others.

    load.py        the load generator: closed loop, keep-alive connections, no pipelining; a process of its
    own baseline.py    an aiohttp application that reads the body, answers 202 and does nothing; likewise
    processes.py   starts those and the real product on temporary data, and ends them runs.py        rounds
    in alternation, and what came out

Events per second mean little on their own: another machine, another number. So each run measures the product
and the baseline in turns (A B A B …) on the same cores, with the same load, and prints the ratio. All is on
loopback, bounded in time and number, and leaves nothing behind."""
