-- A delivery is named by its event, `<event>`; one that a replay made by both, `<event>~<replay>`. Where the row of one
-- that has ended is kept: a key, and the field there.
local function ended_at(name, endpoint)
  local cut = string.find(name, '~', 1, true)
  if not cut then return prefix .. 'd:' .. name, endpoint end
  return prefix .. 'd:' .. string.sub(name, 1, cut - 1), string.sub(name, cut) .. '|' .. endpoint
end
