// `slotgate keys generate`: makes a key, keeps the private half in a file, and prints what the config needs.
import { resolve } from 'node:path'
import { judgeKeyId } from '../../config/names.ts'
import { ACTIONS, type Action } from '../../config/types.ts'
import type { Algorithm } from '../../signing.ts'
import { answer, type Call, EXIT, Failure, setting } from '../call.ts'
import { generateKey, writeKeyFile } from '../keyfile.ts'
import type { Command } from './command.ts'

export const generateKeys: Command = {
  operands: [],
  flags: ['id', 'algorithm', 'allow', 'out'],
  about: 'make a key to call the admin API with',
  async run(call) {
    const id = idOf(call)
    const algorithm = algorithmOf(call)
    const allow = allowOf(call)
    const file = setting(call, 'out') ?? `${id}.key`
    const { content, publicKey } = generateKey(algorithm)
    writeKeyFile(file, content)
    // A secret is one for both sides: slotgate reads the same file.
    const material = publicKey === undefined ? { secret_file: resolve(file) } : { public_key: publicKey }
    const key = { id, algorithm, ...material, allow }
    answer(call, { file, key }, () => `${explain(file)}\n${entry(key)}`)
    return EXIT.done
  },
}

const explain = (file: string): string =>
  `# The private key is in ${file}, readable by its owner alone. This goes under admin.keys in the config:`

/** A line of YAML: JSON's strings are YAML's strings. */
function entry({ allow, ...fields }: { allow: readonly Action[] } & Record<string, unknown>): string {
  const parts = Object.entries(fields).map(([name, value]) => `${name}: ${JSON.stringify(value)}`)
  return `- { ${parts.join(', ')}, allow: [${allow.join(', ')}] }`
}

function idOf(call: Call): string {
  const id = setting(call, 'id')
  if (id === undefined) throw new Failure(EXIT.usage, 'The key needs a name: --id NAME.')
  const complaint = judgeKeyId(id)
  if (complaint) throw new Failure(EXIT.usage, `--id ${complaint.sentence}.`)
  return id
}

function algorithmOf(call: Call): Algorithm {
  const given = setting(call, 'algorithm') ?? 'ed25519'
  if (given === 'ed25519' || given === 'hmac-sha256') return given
  throw new Failure(EXIT.usage, `--algorithm must be ed25519 or hmac-sha256, not ${given}.`)
}

function allowOf(call: Call): Action[] {
  const given = setting(call, 'allow')
  if (given === undefined) return [...ACTIONS]
  return given.split(',').map((word) => {
    const action = ACTIONS.find((candidate) => candidate === word.trim())
    if (action) return action
    throw new Failure(EXIT.usage, `--allow takes ${ACTIONS.join(', ')}, with commas; not ${word}.`)
  })
}
