"""The Lua scripts of `store`, and what their answers mean.

Laws: every script that writes checks the owner's token first. Values are written before the position, and
nothing fails halfway: a server judges memory, rights and persistence before a script's first write.
"""

WRITTEN, ALREADY, FENCED, NO_TOKEN, NO_GENERATION, NO_POSITION, OTHER_POSITION = 1, 0, -1, -2, -3, -4, -5
LOST = {
    NO_TOKEN: "the owner's token is gone",
    NO_GENERATION: "the generation is another or gone",
    NO_POSITION: "the position is gone",
    OTHER_POSITION: "the stored position is not the base of this unit",
}

# KEYS: token, generation, position, then (state, public) per write; '' for no public key, or the position's, since in a cluster
# '' lies in a slot of its own.
# ARGV: token, generation, base, new, then (state, document, ttl_ms) per write. A loop, because unpack
# overflows.
SAVE = """
local call, keys, args = redis.call, KEYS, ARGV
local token = call('GET', keys[1])
if not token then return -2 end
if token ~= args[1] then return -1 end
if call('GET', keys[2]) ~= args[2] then return -3 end
local position = call('GET', keys[3])
if not position then return -4 end
if position == args[4] then return 0 end
if position ~= args[3] then return -5 end
local a = 5
for k = 4, #keys, 2 do
  if args[a] == '' then call('UNLINK', keys[k]) else call('SET', keys[k], args[a]) end
  if keys[k + 1] == '' or keys[k + 1] == keys[3] then
  elseif args[a + 1] == '' then call('UNLINK', keys[k + 1])
  elseif args[a + 2] == '-1' then call('SET', keys[k + 1], args[a + 1], 'XX', 'KEEPTTL')
  elseif args[a + 2] == '0' then call('SET', keys[k + 1], args[a + 1])
  else call('SET', keys[k + 1], args[a + 1], 'PX', args[a + 2]) end
  a = a + 3
end
call('SET', keys[3], args[4])
return 1
"""

# KEYS: token, generation, position. ARGV: token, fresh generation, position.
START = """
local token = redis.call('GET', KEYS[1])
if not token then return -2 end
if token ~= ARGV[1] then return -1 end
local position = redis.call('GET', KEYS[3])
if position then
  if position == ARGV[3] and redis.call('GET', KEYS[2]) == ARGV[2] then return 0 end
  return -5
end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('SET', KEYS[3], ARGV[3])
return 1
"""

# KEYS: token, generation, position. ARGV: token.
ACQUIRE = """
redis.call('SET', KEYS[1], ARGV[1])
return redis.call('MGET', KEYS[2], KEYS[3])
"""

# KEYS: token, then keys to delete. ARGV: token.
DELETE = """
local token = redis.call('GET', KEYS[1])
if not token then return -2 end
if token ~= ARGV[1] then return -1 end
for k = 2, #KEYS do redis.call('UNLINK', KEYS[k]) end
return 1
"""

# KEYS: public documents. ARGV: expected, new ('' deletes) per key. A document that is another by now stays; the TTL
# stays, too.
REPLACE = """
local replaced = 0
for k = 1, #KEYS do
  if redis.call('GET', KEYS[k]) == ARGV[2 * k - 1] then
    if ARGV[2 * k] == '' then redis.call('UNLINK', KEYS[k]) else redis.call('SET', KEYS[k], ARGV[2 * k], 'KEEPTTL') end
    replaced = replaced + 1
  end
end
return replaced
"""
