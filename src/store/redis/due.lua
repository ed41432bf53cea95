-- One page of the lanes by earliest due time. KEYS: lanes. Answers the server's time, the lanes due and those not yet.
local offset, limit = arg(), arg()
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', text(now), 'WITHSCORES', 'LIMIT', offset, limit)
local later = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. text(now), '+inf', 'WITHSCORES', 'LIMIT', offset, limit)
return {text(now), due, later}
