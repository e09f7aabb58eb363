import time
from collections import Counter
from adapters.simulation.seeds import *
c=Counter()
t=time.process_time()
for s in range(1000):
    p=play(scenario_of(s))
    if p.violation: 
        c[p.invariant, p.message[:80]]+=1
    c[len(p.world.used)]+=1
print(1000/(time.process_time()-t)); print(c)
