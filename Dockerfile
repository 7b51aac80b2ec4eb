# Two images from one file: `slotgate`, the front door, and `example`, the app that docker-compose.yml runs in its slots.
#
#   docker build --target slotgate -t slotgate .

ARG NODE=26.10.0

FROM node:${NODE}-bookworm-slim AS modules
WORKDIR /opt/slotgate
COPY package.json package-lock.json ./
# The image has the pinned Node already, and the app gets its PostgreSQL from elsewhere: no install script has to run.
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM modules AS example
# The example speaks to PostgreSQL, which slotgate itself never does.
RUN npm pkg set "dependencies.pg=$(npm pkg get devDependencies.pg | tr -d '"')" \
 && npm pkg delete devDependencies \
 && npm install --ignore-scripts --no-audit --no-fund
COPY src src
COPY example example
USER node
WORKDIR /opt/slotgate/example

FROM node:${NODE}-bookworm-slim AS slotgate
# `driver: git` needs it; a base that has it already is left as it is.
RUN git --version \
 || { apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*; }
ENV NODE_ENV=production NODE_COMPILE_CACHE=/opt/slotgate/compiled
WORKDIR /opt/slotgate
COPY --from=modules /opt/slotgate/package.json ./
COPY --from=modules /opt/slotgate/node_modules node_modules
COPY src src
COPY dashboard dashboard
# Node runs the sources as they are. What it makes of them stays in the image, so that nothing starts slower for it.
RUN ln -s /opt/slotgate/src/bin.ts /usr/local/bin/slotgate \
 && chmod +x src/bin.ts \
 && slotgate --version \
 && node --input-type=module --eval "await import('/opt/slotgate/src/main.ts')" \
 && chmod -R a+rX compiled
# The state and the keys are volumes; a new volume takes over the owner that its folder has here.
RUN install -d -o node -g node -m 0700 /var/lib/slotgate /var/lib/slotgate/state /var/lib/slotgate/keys
USER node
EXPOSE 8080
# slotgate ends by itself on SIGTERM, after its requests; the time for that has to be longer than `drain: within`.
STOPSIGNAL SIGTERM
ENTRYPOINT ["slotgate"]
CMD ["serve", "--config", "/etc/slotgate/proxy.config.yaml"]
