// `slotgate init`: looks at a repository, writes a first config, a key and a line of .gitignore, and says what is left to
// do. What is there already stays as it is.
import { createPublicKey } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { ACTIONS } from '../../config/types.ts'
import { messageOf } from '../../errors.ts'
import { type Git, gitIn } from '../../slots/drivers/git-command.ts'
import { answer, EXIT, Failure, setting } from '../call.ts'
import { type Need, needsOf, PROMISES } from '../init/needs.ts'
import { type Stack, serviceNameOf, stacksOf } from '../init/stacks.ts'
import { configText } from '../init/template.ts'
import { generateKey, readKeyFile, writeKeyFile } from '../keyfile.ts'
import { quoted } from '../shell.ts'
import { type Style, styleFor } from '../style.ts'
import type { Command } from './command.ts'

const CONFIG = 'proxy.config.yaml'
const STATE = '.slotgate'
const KEY = join(STATE, 'ops.key')
const KEY_ID = 'ops'

/** What happened to one file. */
interface Step {
  file: string
  done: 'written' | 'added to' | 'kept'
  about: string
}

interface Outcome {
  folder: string
  found: Stack[]
  steps: Step[]
  needs: Need[]
}

export const init: Command = {
  operands: [],
  flags: ['config'],
  about: 'write a first config for the repository here, a key, and what git should ignore',
  async run(call) {
    const config = resolve(setting(call, 'config') ?? CONFIG)
    const folder = dirname(config)
    const git = gitIn(folder)
    await checkRoot(git, folder)
    const found = stacksOf(folder)
    const needs = await needsOf(git)
    // First what git ignores, so that the key is never one `git add` away from being shared.
    const steps = [await ignoreState(git, folder), ...(await writeConfig(config, found, git))]
    const outcome: Outcome = { folder, found, steps, needs }
    answer(call, outcome, () => explain(outcome, config, styleFor(call.stdout, call.env)))
    return EXIT.done
  },
}

/** A release is a whole checkout, so its config belongs into the root of the repository. */
async function checkRoot(git: Git, folder: string): Promise<void> {
  const { ok, stdout } = await git(['rev-parse', '--show-toplevel'])
  const root = stdout.trimEnd()
  if (!ok || root === '') {
    throw new Failure(EXIT.usage, `${folder} is not a work tree of git, and releases are commits.`, [
      'git init makes it one. Without git, write the config by hand: docs/config.md.',
    ])
  }
  if (realpathSync(folder) === root) return
  throw new Failure(EXIT.usage, `${folder} is not the root of its repository, which is ${root}.`, [
    `Run it there: cd ${quoted(root)} && slotgate init`,
  ])
}

async function ignoreState(git: Git, folder: string): Promise<Step> {
  const file = '.gitignore'
  const { ok } = await git(['check-ignore', '--quiet', `${STATE}/journal.jsonl`])
  if (ok) return { file, done: 'kept', about: `${STATE}/ is ignored already` }
  const path = join(folder, file)
  const before = existsSync(path) ? readFileSync(path, 'utf8') : ''
  const glue = before === '' || before.endsWith('\n') ? '' : '\n'
  attempt(path, () => appendFileSync(path, `${glue}/${STATE}/\n`))
  return { file, done: before === '' ? 'written' : 'added to', about: `/${STATE}/ is not for git` }
}

async function writeConfig(config: string, found: readonly Stack[], git: Git): Promise<Step[]> {
  const folder = dirname(config)
  const file = basename(config)
  if (existsSync(config)) {
    const about = 'it is there already; slotgate keys generate --id ops makes a key for it'
    return [{ file, done: 'kept', about }]
  }
  const { publicKey, step } = keyIn(folder)
  const [first] = found
  const text = configText({
    service: serviceNameOf(folder),
    setup: setupOf(found),
    command: first?.command ?? ['./start'],
    isGuess: first === undefined || !isThere(folder, first),
    key: { id: KEY_ID, publicKey, allow: ACTIONS },
    envFile: await ignoredEnvFile(folder, git),
  })
  attempt(config, () => writeFileSync(config, text, { flag: 'wx' }))
  return [{ file, done: 'written', about: 'read it; what is likely to be changed has a comment' }, step]
}

/** Whether the file that the command names is there; one that `setup` makes will be. */
function isThere(folder: string, { name, command }: Stack): boolean {
  const file = command.find((word) => /\.(?:js|ts|mjs|py|rb)$/.test(word))
  return name === 'Go' || file === undefined || existsSync(join(folder, file))
}

/** A new key, or the one that is there. */
function keyIn(folder: string): { publicKey: string; step: Step } {
  const path = join(folder, KEY)
  if (existsSync(path)) {
    const { key } = readKeyFile(path)
    if (key.algorithm !== 'ed25519') {
      throw new Failure(EXIT.failed, `${path} is there already, and is no Ed25519 key.`, ['Move it away.'])
    }
    const { x } = createPublicKey(key.privateKey).export({ format: 'jwk' })
    const publicKey = Buffer.from(String(x), 'base64url').toString('base64')
    return { publicKey, step: { file: KEY, done: 'kept', about: 'the config has its public half' } }
  }
  const { content, publicKey = '' } = generateKey('ed25519')
  attempt(path, () => mkdirSync(dirname(path), { recursive: true, mode: 0o700 }))
  writeKeyFile(path, content)
  return { publicKey, step: { file: KEY, done: 'written', about: 'the private key, for its owner alone' } }
}

/** One after the other in a shell where there are several. */
function setupOf(found: readonly Stack[]): readonly string[] | null {
  const [first, ...others] = found.map(({ setup }) => setup)
  if (first === undefined) return null
  const commands = [first, ...others].map((words) => words.map(quoted).join(' '))
  return others.length === 0 ? first : ['sh', '-c', commands.join(' && ')]
}

/** One that git knows is no place for secrets. */
async function ignoredEnvFile(folder: string, git: Git): Promise<string | null> {
  if (!existsSync(join(folder, '.env'))) return null
  return (await git(['check-ignore', '--quiet', '.env'])).ok ? '.env' : null
}

function attempt(path: string, write: () => void): void {
  try {
    write()
  } catch (error) {
    throw new Failure(EXIT.failed, `${path} cannot be written: ${messageOf(error)}.`)
  }
}

function explain({ found, steps, needs }: Outcome, config: string, style: Style): string {
  const made = found.map(({ name, lockfile }) => `${name} (${lockfile})`).join(', ')
  const inShell = quoted(relative(process.cwd(), config) || CONFIG)
  const other = basename(config) === CONFIG && dirname(config) === process.cwd() ? '' : ` --config ${inShell}`
  return [
    made === '' ? 'No lockfile that is known here: see to `setup` and `command`.' : `Found ${made}.`,
    ...steps.map(({ file, done, about }) => `  ${markOf(done, style)} ${done} ${file}: ${about}`),
    '',
    'The app:',
    ...needs.map((need) => `  ${needText(need, style)}`),
    ...PROMISES.map((promise) => `  · ${promise}`),
    '  Ask it when it runs: slotgate verify-app http://127.0.0.1:$INTERNAL_PORT',
    '',
    'Then commit it all, and:',
    `  slotgate serve${other}`,
    `  export SLOTGATE_KEY=${KEY}`,
    '  slotgate deploy HEAD',
  ].join('\n')
}

const markOf = (done: Step['done'], { green, yellow }: Style): string =>
  done === 'kept' ? yellow('=') : green('+')

const needText = ({ what, seenIn }: Need, { green, yellow }: Style): string =>
  seenIn === null
    ? `${yellow('?')} ${what}: not found in the code`
    : `${green('✓')} ${what}: ${seenIn} speaks of it`
