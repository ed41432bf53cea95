-- Puts an address on the suppression list, if nothing is there for the reason. KEYS: address_key, sup:<hash>, sups. ARGV:
-- the id of the key that the hash is made with, the hash, the reason, the row. Answers whether it was new, or -1 where the
-- key is another.
local key, hash, reason, row = arg(), arg(), arg(), arg()
if string.match(call('GET', KEYS[1]) or '', '^[^:]*') ~= key then return -1 end
call('ZADD', KEYS[3], '0', hash)
return call('HSETNX', KEYS[2], reason, row)
