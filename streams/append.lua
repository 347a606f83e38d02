-- Append one entry to a stream of a session: store it and, if it was stored, publish it; else say why not.
-- Nothing refused is ever heard, and nothing stored is ever silent (a pipeline of XADD and PUBLISH, or a MULTI,
-- would publish what XADD has refused). The channel is a sharded one: in Redis Cluster only the node that has the
-- session carries its messages, and elsewhere it is a channel like any other.
--
-- KEYS[1]  the stream; also the name of its channel
-- KEYS[2]  parley:{sid}:marks, a hash: `<stream>` -> last id, `<stream>/<writer>` -> last count of that writer
-- KEYS[3]  where it is given: of `held` parley:{sid}:attach, whose connection the session's is; of `exact` parley:{sid}:lease,
--          which must be the writer's
-- ARGV[1]  how the id is made:
--   exact    ARGV[2] id, ARGV[3] the id that must be last now, or '' for any; ARGV[4] the value that the lease must have
--   made     ARGV[2] id, ARGV[3] an id that must be there, or one behind it: whoever does the same work may be ahead; '' for any
--   numbered ARGV[2] gen, ARGV[3] first, ARGV[4] last number of the client's events in this entry; id <gen>-<last * 4096>
--   marked   ARGV[2] writer, ARGV[3] first, ARGV[4] last count of its events in this entry; id <newest gen>-*
--   held     as `marked`, where the writer is <attachment>/<mark>: a connection that may be replaced
-- ARGV[5]  bytes up to which the message carries the entry itself; a larger one is a ring without body
-- ARGV[6…] field, value, field, value …
--
-- Answers {what, id or number}:
--   ok        the new id
--   over      ''        the stream is gone: the session has ended
--   stored    last id   this was stored before: a resend
--   newer     last id   refused: somebody has opened a newer gen or epoch (uplink: replaced; downlink: fenced); or, of `held`, another
--             connection that came after this one has stored something: what is said late is not to stand behind that
--   want      last id or count   something before it is missing; send from there
--   lost      last id   refused: the lease is not the writer's any more
--
-- Where the marks have the field `recorded` the entry gets one more field, `at`: milliseconds since 1970.

local STRIDE = 4096

local stream, marks = KEYS[1], KEYS[2]
local scheme = ARGV[1]
local name = string.match(stream, '([^:]*)$')
local mine = scheme == 'held' and string.match(ARGV[2], '^(.*)/')  -- whose attachment it is

local function split(id)
  local left, right = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(left), tonumber(right)
end

local function last_id_from_stream()
  local entries = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
  return entries[1] and entries[1][1] or nil
end

local known = redis.call('HMGET', marks, name, 'recorded')
local tip = known[1] or last_id_from_stream()
if not tip then return {'over', ''} end
if scheme == 'exact' and KEYS[3] and redis.call('GET', KEYS[3]) ~= ARGV[4] then return {'lost', tip} end

-- What id may this entry take, seen from `tip`? Returns the id, or nil and the answer.
local function take_id()
  local left, right = split(tip)
  if scheme == 'exact' or scheme == 'made' then
    local wanted_left, wanted_right = split(ARGV[2])
    if wanted_left < left then return nil, {'newer', tip} end
    if wanted_left == left and wanted_right <= right then return nil, {'stored', tip} end
    if ARGV[3] ~= '' and ARGV[3] ~= tip then
      local before_left, before_right = split(ARGV[3])
      local is_ahead = left > before_left or (left == before_left and right > before_right)
      if scheme == 'exact' or not is_ahead then return nil, {'want', tip} end
    end
    return ARGV[2]
  elseif scheme == 'numbered' then
    local gen, first, last = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
    if gen < left then return nil, {'newer', tip} end
    local have = (gen == left) and math.floor(right / STRIDE) or 0
    if last <= have then return nil, {'stored', tip} end
    if first ~= have + 1 then return nil, {'want', tostring(have)} end
    return string.format('%.0f-%.0f', gen, last * STRIDE)
  else
    local first, last = tonumber(ARGV[3]), tonumber(ARGV[4])
    -- A writer that is not known has stored nothing yet; but nothing is known at all when the hash has run out.
    local counted = redis.call('HGET', marks, name .. '/' .. ARGV[2])
    local have = tonumber(counted or (redis.call('EXISTS', marks) == 1 and 0 or first - 1))
    if last <= have then return nil, {'stored', tip} end
    if scheme == 'held' then
      local spoke = redis.call('HGET', marks, name .. ':by')
      if spoke and spoke ~= mine and redis.call('GET', KEYS[3]) ~= mine then return nil, {'newer', tip} end
    end
    if first ~= have + 1 then return nil, {'want', tostring(have)} end
    return string.format('%.0f-*', left)
  end
end

local fields, size = {}, 0
for i = 6, #ARGV do
  fields[i - 5] = ARGV[i]
  size = size + #ARGV[i]
end
if known[2] then  -- the session may be recorded: each entry says when it came, by this server's clock
  local now = redis.call('TIME')
  fields[#fields + 1] = 'at'
  fields[#fields + 1] = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
end

local id, refusal = take_id()
if refusal then return refusal end
local stored = redis.pcall('XADD', stream, 'NOMKSTREAM', id, unpack(fields))
if type(stored) == 'table' and stored.err then
  if not string.find(stored.err, 'equal or smaller', 1, true) then return stored end
  -- The hash did not know the last id (somebody wrote without this script): look, decide again, once.
  tip = last_id_from_stream() or tip
  redis.call('HSET', marks, name, tip)
  id, refusal = take_id()
  if refusal then return refusal end
  stored = redis.call('XADD', stream, 'NOMKSTREAM', id, unpack(fields))
end
if not stored then return {'over', ''} end

if scheme == 'marked' then
  redis.call('HSET', marks, name, stored, name .. '/' .. ARGV[2], ARGV[4])
elseif scheme == 'held' then
  redis.call('HSET', marks, name, stored, name .. '/' .. ARGV[2], ARGV[4], name .. ':by', mine)
else
  redis.call('HSET', marks, name, stored)
end
if redis.call('PTTL', marks) < 0 then
  redis.call('PEXPIRE', marks, math.max(redis.call('PTTL', stream), 1000))
end

if size <= tonumber(ARGV[5]) then
  redis.call('SPUBLISH', stream, cmsgpack.pack({stored, tip, fields}))
else
  redis.call('SPUBLISH', stream, cmsgpack.pack({stored, tip}))
end
return {'ok', stored}
