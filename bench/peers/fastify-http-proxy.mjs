// @fastify/http-proxy as a front door: node peers/fastify-http-proxy.mjs PORT BACKEND_PORT
import proxy from '@fastify/http-proxy'
import fastify from 'fastify'

const [port, backendPort] = process.argv.slice(2).map(Number)
const app = fastify({ keepAliveTimeout: 75_000 })
app.register(proxy, { upstream: `http://127.0.0.1:${backendPort}`, websocket: true })
await app.listen({ port, host: '127.0.0.1', backlog: 4096 })
