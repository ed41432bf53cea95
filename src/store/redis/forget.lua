-- Takes an attempt of a delivery out of the log of its endpoint. KEYS: p:<endpoint>, d:<event>. ARGV: what the delivery is
-- called, its endpoint, the number of the attempt.
local name, endpoint, number = arg(), arg(), arg()
local key, field = ended_at(name, endpoint)
local row = call('HGET', KEYS[1], name) or call('HGET', key, field)
if row then log_forget(endpoint, row, number) end
return 1
