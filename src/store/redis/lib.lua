-- Shared by all scripts. ARGV[1] is the prefix of the partition, `{wp:N}:`. Keys that depend on an endpoint, an event,
-- a mail, a request, an address or a word (e:, k:, o:, d:, f:, q:, b:, c:, p:, i:, z:, al:, as:, sup:, w:) are derived from
-- it: they share its hash tag, so they are in the slot of KEYS[1]. Times are the server's, in microseconds; a double holds
-- them exactly.
local prefix = ARGV[1]
local place = 1
local function arg()
  place = place + 1
  return ARGV[place]
end
local call = redis.call
local time = call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
-- How many arguments one command is given at a time.
local MANY = 1000
-- Numbers are handed to commands as texts: Redis writes a number of Lua's far more slowly.
local function text(number)
  return string.format('%d', number)
end
-- A command over any number of arguments, a part at a time.
local function each(name, key, args)
  for from = 1, #args, MANY do call(name, key, unpack(args, from, math.min(from + MANY - 1, #args))) end
end
