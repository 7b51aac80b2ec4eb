// http-proxy as a front door: node peers/http-proxy.mjs PORT BACKEND_PORT
import { Agent, createServer } from 'node:http'
import httpProxy from 'http-proxy'

const [port, backendPort] = process.argv.slice(2).map(Number)
const proxy = httpProxy.createProxyServer({
  target: { host: '127.0.0.1', port: backendPort },
  agent: new Agent({ keepAlive: true }),
})
proxy.on('error', (_error, _request, response) => response?.destroy())

const server = createServer({ keepAliveTimeout: 75_000 }, (request, response) => proxy.web(request, response))
server.on('upgrade', (request, socket, head) => proxy.ws(request, socket, head))
server.listen({ port, host: '127.0.0.1', backlog: 4096 })
