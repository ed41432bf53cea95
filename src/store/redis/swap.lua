-- Puts another value in the place of one, for as long as that would have lived, if it is still there. KEYS: the key. ARGV:
-- the one, the other. Answers whether it was.
local known, other = arg(), arg()
if call('GET', KEYS[1]) ~= known then return 0 end
call('SET', KEYS[1], other, 'KEEPTTL')
return 1
