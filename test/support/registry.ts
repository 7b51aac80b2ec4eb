// A registry with one image in it, on loopback, where an engine needs no certificate: just what a pull asks for.
import { hash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

const sha256 = (bytes: Buffer): string => `sha256:${hash('sha256', bytes)}`

export interface Registry {
  /** The image, with where it is but without a tag: every tag is the same. */
  image: string
  /** From now on what is pulled is not what its hash says. */
  break(): void
}

/** @param layer an archive, as `tar` makes it: the files of the image */
export async function serveRegistry(t: Pick<Test, 'teardown'>, layer: Buffer): Promise<Registry> {
  let broken = false
  const settings = { architecture: 'amd64', os: 'linux', config: { Cmd: ['/nothing'] } }
  const config = Buffer.from(
    JSON.stringify({ ...settings, rootfs: { type: 'layers', diff_ids: [sha256(layer)] } }),
  )
  const kind = 'application/vnd.oci.image'
  const part = (mediaType: string, bytes: Buffer) => ({
    mediaType,
    size: bytes.length,
    digest: sha256(bytes),
  })
  const manifest = {
    schemaVersion: 2,
    mediaType: `${kind}.manifest.v1+json`,
    config: part(`${kind}.config.v1+json`, config),
    layers: [part(`${kind}.layer.v1.tar`, layer)],
  }
  const blobs = new Map([config, layer].map((bytes) => [sha256(bytes), bytes]))
  const server = createServer(({ url = '' }, res) => {
    const blob = blobs.get(url.split('/').at(-1) ?? '')
    if (url === '/v2/') return res.end('{}')
    if (blob) return res.end(broken && blob === layer ? Buffer.alloc(layer.length) : blob)
    if (!url.includes('/manifests/')) return res.writeHead(404).end()
    const body = Buffer.from(JSON.stringify(manifest))
    res.setHeader('content-type', manifest.mediaType).setHeader('content-length', body.length)
    res.setHeader('docker-content-digest', sha256(body)).end(body)
  }).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    image: `127.0.0.1:${port}/shop`,
    break: () => {
      broken = true
    },
  }
}
