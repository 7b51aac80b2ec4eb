// Releases from git, with real repositories: what a caller calls a commit, what is checked out, set up, kept and shared.
import { existsSync } from 'node:fs'
import { chmod, lstat, mkdir, readdir, readFile, readlink, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { gitIn } from '../../src/slots/drivers/git-command.ts'
import { Repository } from '../support/repository.ts'
import { isRunning, World } from '../support/world.ts'

const FITS = { min: 41, max: 43 }

interface GitWorld {
  world: World
  repository: Repository
  /** The commits whose checkout is there, in any state. */
  checkouts(): Promise<string[]>
  folderOf(commit: string): string
}

/** A world whose releases are the commits of a repository of its own; slotgate is not started yet. */
async function createWorld(
  t: Test,
  { releases = [], setup }: { releases?: string[]; setup?: string } = {},
): Promise<GitWorld> {
  const world = await World.create(t)
  const repository = await Repository.create(join(world.folder, 'repo'))
  world.services = [
    '  invoices:',
    '    releases:',
    '      driver: git',
    '      repo: repo',
    `      command: ${JSON.stringify(world.command)}`,
    `      env: ${JSON.stringify({ WORLD: world.folder })}`,
    ...(setup ? [`      setup: ${JSON.stringify(['sh', '-c', setup])}`] : []),
    ...releases.map((line) => `      ${line}`),
    `    health: ${world.health}`,
  ]
  const home = join(world.stateDir, 'releases', 'invoices')
  return {
    world,
    repository,
    checkouts: async () =>
      (await readdir(home).catch(() => [])).filter((name) => /^[0-9a-f]{40}$/.test(name)),
    folderOf: (commit) => join(home, commit),
  }
}

/** A started world with one live commit. */
async function withLive(t: Test, options: Parameters<typeof createWorld>[1] = {}) {
  const made = await createWorld(t, options)
  const first = await made.repository.commit(FITS)
  await made.world.start(t)
  const { status, body } = await made.world.deploy('main')
  t.equal(status, 200, JSON.stringify(body))
  return { ...made, first }
}

t.test('a branch, a tag and a part of a commit are that commit everywhere after', async (t) => {
  const { world, repository } = await createWorld(t)
  const first = await repository.commit(FITS)
  await repository.git('tag', '--annotate', '--message', 'first', 'v1')
  const second = await repository.commit(FITS)
  await repository.git('branch', 'feature/notes')
  const third = await repository.commit(FITS)
  await world.start(t)
  for (const [name, commit] of [
    ['v1', first],
    ['feature/notes', second],
    [third.slice(0, 9), third],
    ['main~2', first],
  ] as const) {
    const { status, body } = await world.deploy(name)
    t.equal(status, 200, JSON.stringify(body))
    t.equal(body.live.release, commit)
    t.equal((await world.get()).release, commit)
  }
  const flips = (await world.history()).filter(({ event }) => event === 'flipped')
  t.same(
    flips.map(({ release }) => release),
    [first, third, second, first],
    'the journal has the whole commit',
  )
  const back = await world.rollback(third.slice(0, 9))
  t.match(back, { status: 200, body: { live: { release: third } } })
})

t.test('what names no commit, or more than one, is refused, and nothing changes', async (t) => {
  const { world, repository, first, checkouts } = await withLive(t)
  const second = await repository.commit(FITS)
  await repository.git('tag', 'both', first)
  await repository.git('branch', 'both', second)
  const before = { status: await world.status(), checkouts: await checkouts() }
  for (const name of ['nope', '0'.repeat(40), 'main:count', '^main', `${first}..main`, 'main@{99}']) {
    const { status, body } = await world.deploy(name)
    t.match({ status, body }, { status: 404, body: { code: 'unknown_commit', name } }, name)
  }
  const both = await world.deploy('both')
  t.match(both, {
    status: 400,
    body: { code: 'ambiguous_commit', candidates: ['refs/heads/both', 'refs/tags/both'] },
  })
  t.match(
    both.body.detail,
    /both could be more than one thing in .*repo: refs\/heads\/both, refs\/tags\/both\./,
  )
  t.match(await world.rollback('nope'), { status: 404, body: { code: 'unknown_commit' } })
  t.equal((await world.status()).generation, before.status.generation)
  t.same((await world.status()).idle, before.status.idle)
  t.same(await checkouts(), before.checkouts)
})

t.test('a part that two commits begin with is refused, and both are told', async (t) => {
  const { world, repository } = await withLive(t)
  // Four digits are the least that git takes; of so many commits two share them.
  const commits = await repository.commitMany(2_000, 'many')
  const parts = commits.map((commit) => commit.slice(0, 4))
  const shared = parts.find((part, index) => parts.indexOf(part) !== index) ?? ''
  const { status, body } = await world.deploy(shared)
  t.match({ status, body }, { status: 400, body: { code: 'ambiguous_commit', name: shared } })
  t.ok(body.candidates.length >= 2, body.candidates)
  for (const candidate of body.candidates) t.match(candidate, new RegExp(`^${shared}[0-9a-f]* commit `))
})

t.test('a name that looks like an option does nothing', async (t) => {
  const { world, repository, checkouts } = await withLive(t)
  const before = await checkouts()
  for (const name of ['--all', '-h', '--git-dir=/tmp', '--exec=touch', '--output=/tmp/x', '--', '-']) {
    const { status, body } = await world.stage(name)
    t.match({ status, body }, { status: 404, body: { code: 'unknown_commit', name } }, name)
  }
  for (const name of ['', 'a b', 'a\nb', 'a\0b', 'x'.repeat(300)]) {
    t.match(await world.stage(name), { status: 400, body: { code: 'invalid_release_id' } })
  }
  t.same(await checkouts(), before)
  t.equal(await repository.git('status', '--porcelain'), '')
})

t.test('the work tree, its index and its branch stay as they are', async (t) => {
  const { world, repository, first } = await withLive(t)
  await repository.write('release.json', 'half a thou')
  await repository.write('new.txt', 'not added')
  await repository.write('count', 'staged')
  await repository.git('add', 'count')
  await repository.git('config', 'core.hooksPath', join(repository.folder, 'hooks'))
  await repository.write('hooks/post-checkout', '#!/bin/sh\ntouch "$(dirname "$0")/ran"\n')
  await chmod(join(repository.folder, 'hooks', 'post-checkout'), 0o755)
  const state = () =>
    Promise.all([
      repository.git('status', '--porcelain'),
      repository.git('diff', '--cached'),
      repository.git('symbolic-ref', 'HEAD'),
      repository.git('rev-parse', 'HEAD'),
    ])
  const before = await state()
  await repository.git('branch', 'other', `${first}`)
  const commit = await repository.git('commit-tree', `${first}^{tree}`, '-p', first, '-m', 'other')
  t.match(await world.deploy(commit), { status: 200 })
  t.same(await state(), before)
  t.notOk(existsSync(join(repository.folder, 'hooks', 'ran')), 'hooks are for people')
})

t.test('of a work tree that shows a part of the repository, a release is the whole commit', async (t) => {
  const { world, repository, folderOf } = await createWorld(t)
  const commit = await repository.commit(FITS, { 'lib/a': '', 'docs/b': '' })
  await repository.git('sparse-checkout', 'set', 'docs')
  await world.start(t)
  t.equal((await world.deploy('main')).status, 200)
  t.ok(existsSync(join(folderOf(commit), 'lib/a')))
  t.notOk(existsSync(join(repository.folder, 'lib/a')), 'and the work tree stays as it is')
})

t.test('what is live already is answered at once, without a boot', async (t) => {
  const { world, first } = await withLive(t)
  const before = await world.status()
  const { status, body } = await world.deploy(first.slice(0, 10))
  t.match({ status, body }, { status: 200, body: { generation: 1, live: { release: first }, verdict: null } })
  const after = await world.status()
  t.equal(after.live?.pid, before.live?.pid)
  t.equal(after.generation, before.generation)
  t.equal((await world.history()).filter(({ event }) => event === 'booting').length, 1)
})

t.test('a setup that fails is shown, and runs again in a fresh checkout', async (t) => {
  const setup =
    'echo "the registry says hello"; test ! -e left-over && touch left-over && test ! -e "$WORLD/broken"'
  const { world, repository, first } = await withLive(t, { setup })
  const second = await repository.commit(FITS)
  await writeFile(join(world.folder, 'broken'), '')
  const refused = await world.deploy(second)
  t.match(refused, { status: 424, body: { code: 'setup_failed', release: second } })
  t.match(refused.body.output, ['the registry says hello'])
  await world.until(
    async () => world.logLines.some((line) => line.includes('registry says') && line.includes(second)),
    'the log has it, too',
  )
  t.equal((await world.get()).release, first)
  await rm(join(world.folder, 'broken'))
  t.match(await world.deploy(second), { status: 200, body: { live: { release: second } } })
  const setups = (await world.history()).filter(({ event }) => event === 'setup_done')
  t.same(
    setups.map(({ release }) => release),
    [second, first],
  )
})

t.test('a setup or a checkout that hangs is ended, with what it started, and holds no lock', async (t) => {
  // It does not heed SIGTERM, and outlives who has started it.
  const hang = `sh -c 'trap "" TERM; echo asking; echo $$ > "$0/pid"; exec sleep 1000'`
  const { world, repository, checkouts } = await createWorld(t, {
    releases: ['setup_within: 3s'],
    setup: `test ! -e left-over && touch left-over && if test -e "$WORLD/hang"; then ${hang} "$WORLD" & wait; fi`,
  })
  const pid = async () => Number(await readFile(join(world.folder, 'pid'), 'utf8'))
  const isEnded = async () => !(await isRunning(await pid()))
  await writeFile(join(world.folder, 'hang'), '')
  const first = await repository.commit(FITS)
  await world.start(t)
  const refused = await world.deploy(first)
  t.match(refused, {
    status: 424,
    body: { code: 'setup_timeout', release: first, within_ms: 3_000, output: ['asking'], retryable: false },
  })
  await world.until(isEnded, 'nothing of it is left')
  await rm(join(world.folder, 'hang'))
  t.match(await world.deploy(first), { status: 200 }, 'the next attempt begins anew')

  await repository.git('config', 'filter.slow.smudge', `${hang} '${world.folder}' & wait`)
  const second = await repository.commit(FITS, { '.gitattributes': 'slow filter=slow', slow: 'slow' })
  t.match(await world.deploy(second), {
    status: 503,
    body: { code: 'checkout_failed', release: second, detail: /it was not done within 3000 ms/ },
  })
  await world.until(isEnded, 'nor of that')
  await world.until(async () => (await checkouts()).join() === first, 'and the half checkout is gone')
})

t.test('a git that does not answer is no repository to wait for', async (t) => {
  const { world, repository } = await createWorld(t)
  const git = gitIn(repository.folder, world.stateDir, 200)
  const hanging = git(['-c', 'alias.hang=!sleep 1000', 'hang'])
  await t.rejects(hanging, { code: 'repository_unusable', facts: { detail: /no answer within 200 ms/ } })
})

t.test('a git that tells without end is ended, and no part of it is taken for the whole', async (t) => {
  const { world, repository } = await createWorld(t)
  const git = gitIn(repository.folder, world.stateDir)
  await t.rejects(git(['-c', 'alias.tell=!yes', 'tell']), {
    code: 'repository_unusable',
    facts: { detail: /more than 67108864 characters/ },
  })
})

t.test('a checkout that slotgate was killed in is cleaned up at the start, and made anew', async (t) => {
  const setup = 'touch half; echo waiting; while test -e "$WORLD/wait"; do sleep 0.05; done; rm half'
  const { world, repository, checkouts, folderOf } = await createWorld(t, { setup })
  const first = await repository.commit(FITS)
  const killed = await world.spawn(t)
  t.match(await world.deploy(first), { status: 200 })
  const second = await repository.commit(FITS)
  await writeFile(join(world.folder, 'wait'), '')
  const lost = world.deploy(second).catch(() => null)
  await world.until(async () => existsSync(join(folderOf(second), 'half')), 'the setup runs')
  killed.kill('SIGKILL')
  await killed.exited
  await lost
  t.same((await checkouts()).toSorted(), [first, second].toSorted())
  await world.start(t)
  await world.until(async () => !existsSync(folderOf(second)), 'the half checkout is gone')
  const known = () => repository.git('worktree', 'list')
  await world.until(async () => !(await known()).includes(second), 'and git has forgotten it')
  await world.until(async () => (await world.get()).release === first, 'the live release is up')
  await rm(join(world.folder, 'wait'))
  t.match(await world.deploy(second), { status: 200 })
  t.notOk(existsSync(join(folderOf(second), 'half')))
})

t.test('so is one in which git itself was not done', async (t) => {
  const { world, repository, folderOf } = await createWorld(t)
  const first = await repository.commit(FITS)
  const killed = await world.spawn(t)
  t.match(await world.deploy(first), { status: 200 })
  const wait = join(world.folder, 'wait')
  await repository.git('config', 'filter.slow.smudge', `while test -e '${wait}'; do sleep 0.05; done; cat`)
  const second = await repository.commit(FITS, { '.gitattributes': 'slow filter=slow', slow: 'slow' })
  await writeFile(wait, '')
  const lost = world.deploy(second).catch(() => null)
  await world.until(async () => existsSync(join(folderOf(second), '.git')), 'git checks out')
  killed.kill('SIGKILL')
  await killed.exited
  await lost
  await world.start(t)
  const known = () => repository.git('worktree', 'list')
  await world.until(async () => !(await known()).includes(second), 'git has forgotten it')
  t.notOk(existsSync(folderOf(second)))
  await rm(wait)
  t.match(await world.deploy(second), { status: 200, body: { live: { release: second } } })
  t.equal(await readFile(join(folderOf(second), 'slow'), 'utf8'), 'slow')
})

t.test('the newest checkouts are kept, and those that are needed', async (t) => {
  const { world, repository, checkouts, folderOf, first } = await withLive(t, { releases: ['keep: 1'] })
  const second = await repository.commit(FITS)
  await world.deploy(second)
  const third = await repository.commit(FITS)
  await world.deploy(third)
  await world.until(async () => !existsSync(folderOf(first)), 'the oldest is gone')
  const fourth = await repository.commit({ min: 43, max: 43 })
  t.match(await world.deploy(fourth), { status: 422 }, 'refused, so it stays staged')
  t.match(await world.stage(fourth), { status: 200 })
  t.same((await checkouts()).toSorted(), [second, third, fourth].toSorted(), 'previous, live and staged')
  t.notMatch(await repository.git('worktree', 'list'), first)

  const back = await world.rollback(first.slice(0, 12))
  t.match(back, { status: 200, body: { live: { release: first } } }, 'what was removed is checked out again')
  t.equal((await world.get()).release, first)
})

t.test('the previous release keeps its checkout when its process is stopped', async (t) => {
  const { world, repository, folderOf } = await createWorld(t, { releases: ['keep: 1'] })
  world.services?.push('    previous: stop')
  const first = await repository.commit(FITS)
  await world.start(t)
  const stopped = async () => (await world.status()).idle.state === 'stopped'
  t.match(await world.deploy(first), { status: 200 })
  const second = await repository.commit(FITS)
  t.match(await world.deploy(second), { status: 200 })
  await world.until(stopped, 'the first is stopped')
  const third = await repository.commit(FITS)
  t.match(await world.deploy(third), { status: 200 })
  await world.until(stopped, 'the second is stopped')
  t.match(await world.stage(await repository.commit(FITS)), { status: 200 })
  await world.until(async () => !existsSync(folderOf(first)), 'the first is gone')
  t.ok(existsSync(folderOf(second)), 'where a plain rollback goes is not')
})

t.test('a checkout stays while a process in it drains', async (t) => {
  const { world, repository, folderOf, first } = await withLive(t, { releases: ['keep: 1'] })
  const body = new PassThrough()
  const answer = request(`${world.url}/echo`, { method: 'POST', body })
  body.write('begun, ')
  await world.until(async () => (await world.status()).live?.claims.requests === 1, 'the request is open')
  for (let count = 0; count < 3; count++)
    t.match(await world.deploy(await repository.commit(FITS)), { status: 200 })
  const [second = ''] = (await world.history()).flatMap(({ event, generation, release }) =>
    event === 'flipped' && generation === 2 ? [String(release)] : [],
  )
  await world.until(async () => {
    await world.stage('main')
    return !existsSync(folderOf(second))
  }, 'what nobody needs is gone')
  await world.stage('main')
  t.ok(existsSync(folderOf(first)), 'what still answers is not')
  body.end('ended')
  t.equal(await (await answer).body.text(), 'begun, ended')
})

t.test('shared folders outlive the releases that write to them', async (t) => {
  const { world, repository, folderOf } = await createWorld(t, {
    releases: ['shared: [data, var/uploads]'],
    setup: 'echo "$SLOTGATE_STATE_DIR" >> data/log && echo x > var/uploads/x',
  })
  const first = await repository.commit(FITS, { 'var/uploads/.gitkeep': '', 'var/read.me': 'stays' })
  await world.start(t)
  t.match(await world.deploy(first), { status: 200 })
  const second = await repository.commit(FITS)
  t.match(await world.deploy(second), { status: 200 })
  const shared = join(world.stateDir, 'shared', 'invoices')
  t.equal(await readlink(join(folderOf(second), 'data')), join(shared, 'data'))
  t.ok((await lstat(join(folderOf(first), 'var', 'uploads'))).isSymbolicLink(), 'a placeholder gives way')
  t.ok(existsSync(join(folderOf(first), 'var', 'read.me')))
  t.equal(
    (await readFile(join(shared, 'data', 'log'), 'utf8')).split('\n').length,
    3,
    'both wrote to one file',
  )
})

t.test('two services of one repository have each their own checkouts and shared folders', async (t) => {
  const { world, repository } = await createWorld(t, { releases: ['shared: [data]', 'keep: 1'] })
  const invoices = world.services ?? []
  const other = invoices.map((line) => line.replace('  invoices:', '  orders:').replace('keep: 1', 'keep: 2'))
  world.services = [...invoices, ...other, '    hosts: [orders.test]']
  const first = await repository.commit(FITS)
  await world.start(t)
  const deployOrders = (release: string) => world.call('POST', '/v1/services/orders/deploy', { release })
  const both = await Promise.all([world.deploy(first), deployOrders(first)])
  t.match(both, [
    { status: 200, body: { live: { release: first } } },
    { status: 200, body: { live: { release: first } } },
  ])
  const linkOf = (service: string) => readlink(join(world.stateDir, 'releases', service, first, 'data'))
  t.equal(await linkOf('invoices'), join(world.stateDir, 'shared', 'invoices', 'data'))
  t.equal(await linkOf('orders'), join(world.stateDir, 'shared', 'orders', 'data'))
})

t.test('a work tree that another git is writing down at this moment is waited for', async (t) => {
  const { world, repository } = await createWorld(t)
  const release = await repository.commit(FITS)
  const other = join(repository.folder, '.git', 'worktrees', 'other')
  await mkdir(other, { recursive: true })
  await writeFile(join(other, 'gitdir'), `${world.folder}/other/.git\n`)
  // As git leaves it between its opening and its writing of the file.
  await writeFile(join(other, 'commondir'), '')
  await world.start(t)
  const asked = await repository.git('worktree', 'list').catch((error: Error) => error.message)
  t.match(asked, /failed to read .*commondir/, 'git fails over it')
  const deployed = world.deploy(release)
  await world.until(async () => (await world.status()).operation?.step === 'booting', 'it has begun')
  await rm(other, { recursive: true })
  t.match(await deployed, { status: 200, body: { live: { release } } })
})

t.test('what is in the commit is not replaced by what is shared', async (t) => {
  const { world, repository } = await createWorld(t, { releases: ['shared: [data, lib/data]'] })
  const tracked = await repository.commit(FITS, { 'data/rates.csv': '1' })
  await world.start(t)
  t.match(await world.deploy(tracked), {
    status: 424,
    body: { code: 'shared_path_tracked', path: 'data', detail: /data\/rates\.csv is tracked there/ },
  })
  await repository.git('rm', '-r', '--quiet', '--cached', 'data')
  await rm(join(repository.folder, 'data'), { recursive: true })
  const file = await repository.commit(FITS, { lib: 'a file' })
  t.match(await world.deploy(file), { status: 424, body: { code: 'shared_path_tracked', path: 'lib/data' } })
})

t.test('the values of env_file reach the process and nobody else', async (t) => {
  const { world, repository } = await createWorld(t, {
    releases: ['env_file: secrets.env'],
    setup: 'echo "setting up with $PASSWORD"',
  })
  const password = 'correct-horse-battery'
  const certificate = '-----BEGIN X-----\\nMIIBadBadBadBad\\n-----END X-----'
  const first = await repository.commit(FITS)
  await world.start(t)
  t.match(await world.deploy(first), {
    status: 424,
    body: { code: 'env_file_unreadable', file: join(world.folder, 'secrets.env') },
  })
  await writeFile(join(world.folder, 'secrets.env'), `PASSWORD=${password}\0\n`)
  t.match(await world.deploy(first), { status: 424, body: { code: 'env_file_unreadable', detail: /NUL/ } })
  const secrets = `\ufeffexport PASSWORD='${password}'\n# of the shop\nCERTIFICATE="${certificate}"\nPORT=1\n`
  await writeFile(join(world.folder, 'secrets.env'), secrets, { mode: 0o600 })
  t.match(await world.deploy(first), { status: 200 })
  const pid = (await world.status()).live?.pid
  const environment = (await readFile(`/proc/${pid}/environ`, 'utf8')).split('\0')
  t.ok(environment.includes(`PASSWORD=${password}`))
  t.ok(environment.includes('CERTIFICATE=-----BEGIN X-----\nMIIBadBadBadBad\n-----END X-----'))
  t.notOk(environment.includes('PORT=1'), 'what slotgate gives comes first')

  const broken = await repository.commit({ ...FITS, exitOnBoot: 3 })
  const refused = await world.deploy(broken)
  t.match(refused, { status: 424, body: { code: 'target_boot_failed' } })
  const told = [
    ...world.logLines,
    await readFile(join(world.stateDir, 'journal.jsonl'), 'utf8'),
    JSON.stringify([refused.body, await world.status(), await world.history()]),
  ].join('\n')
  t.match(told, /setting up with \$\{PASSWORD\}/, 'what an app says itself has the name in its place')
  for (const secret of [password, 'MIIBadBadBadBad']) t.notMatch(told, secret)
})

t.test('a repository that is none is told as such', async (t) => {
  const { world, repository } = await withLive(t)
  await rm(join(repository.folder, '.git'), { recursive: true })
  t.match(await world.deploy('main'), {
    status: 503,
    body: { code: 'repository_unusable', repo: repository.folder },
  })
  t.equal((await world.get()).status, 200)
})

t.test('what is checked out starts again while its repository is away', async (t) => {
  const { world, repository, folderOf } = await createWorld(t)
  const first = await repository.commit(FITS)
  const stop = await world.start(t)
  t.match(await world.deploy(first), { status: 200 })
  await stop()
  await writeFile(join(folderOf(first), 'witness'), '')
  const git = join(repository.folder, '.git')
  await rename(git, `${git}.away`)
  await world.start(t)
  await world.until(async () => (await world.get()).release === first, 'it is up again')
  t.ok(existsSync(join(folderOf(first), 'witness')), 'from the same checkout')
})

t.test('a repository that was cloned anew takes no checkout from under what runs in it', async (t) => {
  const { world, repository, folderOf, first } = await withLive(t)
  const second = await repository.commit(FITS)
  t.equal((await world.deploy(second)).status, 200)
  for (const commit of [first, second]) await writeFile(join(folderOf(commit), 'witness'), '')
  await repository.git('clone', '--quiet', '--bare', '.', '../clone')
  await rm(join(repository.folder, '.git'), { recursive: true })
  await rename(join(world.folder, 'clone'), join(repository.folder, '.git'))
  t.equal(
    (await world.stage(second)).status,
    200,
    'the live one once more, into the slot of the previous one',
  )
  t.equal((await world.promote()).status, 200)
  t.ok(existsSync(join(folderOf(second), 'witness')))
  await world.until(async () => (await world.history()).some(({ event }) => event === 'stopped'), 'its end')
  t.match(await world.check('rollback'), { status: 200, body: { release: first } })
  t.ok(existsSync(join(folderOf(first), 'release.json')))
})

t.test('what runs is found by its hash while the repository is away', async (t) => {
  const { world, repository, first } = await withLive(t)
  const second = await repository.commit(FITS)
  t.equal((await world.deploy(second)).status, 200)
  await rename(repository.folder, `${repository.folder}.away`)
  t.match(await world.deploy(second), { status: 200, body: { generation: 2 } }, 'live already')
  t.match(await world.rollback('main~1'), { status: 503, body: { code: 'repository_unusable' } })
  t.match(await world.rollback(first), { status: 200, body: { live: { release: first } } })
})

t.test('slotgate that stops in the middle of a setup leaves nothing running', async (t) => {
  const { world, repository } = await createWorld(t, { setup: 'echo waiting; exec sleep 1000' })
  const first = await repository.commit(FITS)
  const stop = await world.start(t)
  const deploy = world.deploy(first)
  await world.until(async () => world.logLines.some((line) => line.includes('waiting')), 'the setup runs')
  await stop()
  t.match(await deploy, { status: 503, body: { code: 'shutting_down' } })
})

t.test('`first` may be a branch', async (t) => {
  const { world, repository } = await createWorld(t)
  world.services?.push('    first: main')
  const first = await repository.commit(FITS)
  await world.start(t)
  await world.until(async () => (await world.status()).live?.release === first, 'the branch is live')
  t.ok(await isRunning((await world.status()).live?.pid ?? 0))
})
