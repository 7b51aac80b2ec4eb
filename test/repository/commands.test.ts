// Every command in the docs runs: each block of `sh` of a page is typed, in a folder of the page's own, into one shell
// with a real slotgate at hand, and prints what the page shows, or ends well where it shows nothing. Pages that are named
// as arguments are typed alone.
import { spawnSync } from 'node:child_process'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { freePorts } from '../../src/slots/free-ports.ts'
import { COMPILED } from '../support/compiled.ts'
import { SCENES } from '../support/scenes.ts'
import { type Block, blocksOf, linesOf, patternOf, typeAll } from '../support/shell.ts'

const root = join(import.meta.dirname, '..', '..')
const pages = new Map(
  globSync(['*.md', 'docs/**/*.md', 'deploy/*.md'], { cwd: root })
    .filter((file) => !file.startsWith('docs/adopting/'))
    .sort()
    .map((file) => [file, readFileSync(join(root, file), 'utf8')]),
)

/** Sections that another test types. */
const ELSEWHERE: readonly { page: string; heading: string; test: string }[] = [
  { page: 'README.md', heading: '## A tour in five minutes', test: 'test/repository/readme.test.ts' },
  { page: 'docs/admin.md', heading: '### With a shell', test: 'test/admin/docs.test.ts' },
  { page: 'docs/running.md', heading: '## Docker Compose', test: 'test/flow/compose.test.ts' },
  { page: 'docs/lint.md', heading: '## Before a commit', test: 'test/cli/lint.test.ts' },
  { page: 'docs/lint.md', heading: '## In a CI', test: 'test/cli/lint.test.ts' },
]

/** Lines that cannot be typed here. An entry that is no line of its page any more is a failure. */
const NOT_HERE: readonly { page: string; line: string; why: string }[] = [
  {
    page: 'docs/quick-start.md',
    line: 'npm install --global slotgate',
    why: 'installs for the whole machine',
  },
  {
    page: 'README.md',
    line: 'npx slotgate dev -- node server.js    # or npm run dev, flask run: whatever starts it, on the port in $PORT',
    why: 'asks a registry; the quick start types the same without npx',
  },
  ...[
    'npm run demo    # a real app on a real PostgreSQL behind slotgate; -- --tour plays its whole story by itself',
    'npm test        # all tests',
  ].map((line) => ({
    page: 'README.md',
    line,
    why: 'test/flow/example.test.ts runs the demo; this is one of the tests',
  })),
  ...[
    'npm run demo        # the example app on a real PostgreSQL, behind slotgate; -- --tour plays the whole story',
    'npm test            # all tests; -- test/gate narrows them down',
  ].map((line) => ({ page: 'CONTRIBUTING.md', line, why: 'the same' })),
  ...[
    'npm run bench                                              # everything; writes this page',
    'npm run bench -- --quick                                   # a short look, two minutes',
    'npm run bench -- --only nginx,slotgate --work small-get    # some of it',
  ].map((line) => ({
    page: 'docs/benchmarks.md',
    line,
    why: 'takes minutes, and installs what it compares with',
  })),
  ...[
    'npm install --global slotgate',
    'useradd --system --home-dir /var/lib/slotgate --shell /usr/sbin/nologin slotgate',
    'install -d -m 0755 /etc/slotgate',
    'cp proxy.config.yaml /etc/slotgate/            # state_dir: /var/lib/slotgate/state',
    'cp deploy/slotgate.service /etc/systemd/system/',
    'systemctl daemon-reload',
    'systemctl enable --now slotgate',
    'journalctl --unit slotgate --follow',
  ].map((line) => ({
    page: 'docs/running.md',
    line,
    why: 'changes the machine, and needs one that systemd runs',
  })),
  { page: 'docs/dashboard.md', line: 'slotgate dashboard --key ops.key', why: 'waits for a browser' },
]

/** Never typed, whatever a page says: it would be done to the machine of whoever runs the tests. */
const CHANGES_THE_MACHINE =
  /^\s*(?:sudo|apt|apt-get|docker|journalctl|systemctl|useradd|install)\b|\bnpm (?:i|install)\b.* (?:-g|--global)\b|\bnpx\b|^\s*(?:cp|mv|ln|rm|mkdir|tee)\b.* \/(?:etc|usr|var)\//m

const wanted = process.argv.slice(2)
const isWanted = (page: string): boolean => wanted.length === 0 || wanted.includes(page)

const missing = ['curl', 'git', 'jq'].filter((name) => spawnSync(name, ['--version']).status !== 0)
const skip = missing.length > 0 && `needs ${missing.join(', ')}`

// Each page waits most of its time for what it starts.
t.jobs = 3

for (const [page, text] of pages) {
  const blocks = blocksOf(withoutTypedElsewhere(page, text)).flatMap((block) => withoutNotHere(page, block))
  if (blocks.length === 0 || !isWanted(page)) continue
  t.test(`every command of ${page} runs`, { skip, buffered: true }, async (t) => {
    for (const { typed } of blocks) {
      const [line] = CHANGES_THE_MACHINE.exec(typed) ?? []
      if (line !== undefined) return t.fail(`not typed: ${line}. Is it to be in NOT_HERE?\n${typed}`)
    }
    const folder = await openFolder(t)
    const addresses = await freeAddresses()
    const { env = {}, here = {}, first = ':' } = (await SCENES[page]?.(t, folder)) ?? {}
    const places = { ...addresses, ...here }
    const scripts = blocks.map((block) => runnable(block, places))
    const answers = await typeAll(t, [inPlace(first, places), ...scripts, END_SERVER], {
      cwd: folder,
      env: {
        ...(await environment(folder)),
        SLOTGATE_ADMIN: inPlace('http://127.0.0.1:8081', places),
        ...env,
      },
    })
    for (const [at, { typed, shown }] of blocks.entries()) {
      const { output, exitCode } = answers[at + 1] ?? { output: 'The shell has ended.', exitCode: 1 }
      if (shown === undefined) t.equal(exitCode, 0, `${typed}\n${output}`)
      else t.match(linesOf(output), patternOf(shown), typed)
    }
    t.equal(answers.at(-1)?.exitCode, 0, 'what ran in the second terminal has ended')
  })
}

t.test('what is typed elsewhere is there', async (t) => {
  for (const { page, heading, test } of ELSEWHERE) {
    t.match(pages.get(page), `\n${heading}\n`)
    t.ok(existsSync(join(root, test)), test)
  }
})

t.test('every line that cannot be typed here is on its page', async (t) => {
  for (const { page, line } of NOT_HERE) {
    const lines = blocksOf(pages.get(page) ?? '').flatMap(({ typed }) => typed.split('\n'))
    t.ok(lines.includes(line), `${page}: ${line}`)
  }
})

/** A section goes to the next heading. */
function withoutTypedElsewhere(page: string, text: string): string {
  return ELSEWHERE.filter((entry) => entry.page === page).reduce((rest, { heading }) => {
    const [before = '', after = ''] = rest.split(`\n${heading}\n`)
    return `${before}\n${after.slice(after.search(/^#+ /m))}`
  }, text)
}

function withoutNotHere(page: string, { typed, shown }: Block): Block[] {
  const left = typed
    .split('\n')
    .filter((line) => !NOT_HERE.some((entry) => entry.page === page && entry.line === line))
  return left.length === 0 ? [] : [{ typed: left.join('\n'), ...(shown !== undefined && { shown }) }]
}

async function openFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-docs-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  await mkdir(join(folder, 'bin'))
  const slotgate = join(folder, 'bin', 'slotgate')
  await writeFile(slotgate, `#!/bin/sh\nexec "${process.execPath}" "${join(root, 'src', 'bin.ts')}" "$@"\n`)
  await chmod(slotgate, 0o755)
  await writeFile(join(folder, '.curlrc'), 'silent\nshow-error\n')
  const page = join(folder, 'page')
  await mkdir(page)
  return page
}

/** That of somebody who has installed slotgate and set up git, and nothing else. */
async function environment(folder: string): Promise<NodeJS.ProcessEnv> {
  const home = dirname(folder)
  return {
    PATH: [join(home, 'bin'), dirname(process.execPath), process.env.PATH].join(':'),
    HOME: home,
    GIT_AUTHOR_NAME: 'Ada',
    GIT_AUTHOR_EMAIL: 'ada@example.com',
    GIT_COMMITTER_NAME: 'Ada',
    GIT_COMMITTER_EMAIL: 'ada@example.com',
    ...COMPILED,
  }
}

/** The ports that pages name are somebody else's here. */
async function freeAddresses(): Promise<Record<string, string>> {
  const named = [8080, 8081, 3001, 3901, 3002, 3902]
  // From 20000 on: one that began with a port that is named would be put in place of a place.
  const free = (await Promise.all([freePorts(), freePorts(), freePorts()])).flat()
  return Object.fromEntries(
    named.flatMap((port, at) => [
      [`127.0.0.1:${port}`, `127.0.0.1:${free[at]}`],
      [`PORT=${port}`, `PORT=${free[at]}`],
    ]),
  )
}

const inPlace = (text: string, places: Record<string, string>): string =>
  Object.entries(places).reduce((rest, [there, here]) => rest.replaceAll(there, here), text)

const SERVER = /^slotgate (?:serve|dev)(?! --check)\b.*$/m
/** Ends what runs in the second terminal; what does not end is a failure, and no reason to wait for ever. */
const END_SERVER = [
  'if [ -n "$server" ]; then',
  '  { sleep 20; kill -KILL $server; } > ../late 2>&1 & late=$!',
  '  kill $server; wait $server; ended=$?; kill $late; server=; [ $ended != 137 ]',
  'fi',
].join('\n')

/** What the reader does by hand, the shell does by itself: a second terminal, Ctrl-C there, and looking once more. */
function runnable({ typed, shown }: Block, places: Record<string, string>): string {
  const put = inPlace(typed, places)
  if (SERVER.test(put)) return put.replace(SERVER, (command) => serving(command, places))
  const isLook = shown !== undefined && /^curl http\S+$/.test(put)
  return isLook ? lookingAgain(put, shown) : put
}

/** In the background, and until it answers; `slotgate init` has written a config with the ports of everybody. */
function serving(command: string, places: Record<string, string>): string {
  const listen = inPlace('127.0.0.1:8080', places)
  const put = command.replace('slotgate dev', `slotgate dev --listen ${listen}`)
  const edits = Object.entries(places).map(([there, here]) => `-e 's,${there},${here},'`)
  const door = command.startsWith('slotgate serve')
    ? inPlace('http://127.0.0.1:8081/healthz', places)
    : `http://${listen}`
  return [
    END_SERVER,
    `[ ! -f proxy.config.yaml ] || sed -i.bak ${edits.join(' ')} proxy.config.yaml`,
    `${put} > ../server.log 2>&1 & server=$!`,
    `until curl --fail --output ../answer ${door} 2> ../waiting; do kill -0 $server || break; sleep 0.05; done`,
  ].join('\n')
}

/** Right after a save the former code may still answer. */
const lookingAgain = (command: string, shown: string): string =>
  [
    'for look in $(seq 200); do',
    `  answer=$(${command}); [ "$answer" = '${shown}' ] && break; sleep 0.05`,
    'done; echo "$answer"',
  ].join('\n')
