// Node's HTTP, without an `import` of node:http: that reads all that it exports, Node's own WebSocket client is loaded for it,
// and each start of a process and of a thread takes 40 ms longer.
export const { createServer, METHODS, request, STATUS_CODES } = process.getBuiltinModule('node:http')
