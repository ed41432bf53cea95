-- Takes an address off the suppression list. KEYS: sups, sup:<hash>. ARGV: the hash. Answers whether it was there.
call('ZREM', KEYS[1], arg())
return call('DEL', KEYS[2])
