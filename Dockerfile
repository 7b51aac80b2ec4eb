# Two images from one file: `slotgate`, the front door, and `example`, the app that docker-compose.yml runs in its slots.
#
#   docker build --target slotgate -t slotgate .

ARG NODE=26.10.0

FROM node:${NODE}-bookworm-slim AS build
WORKDIR /opt/slotgate
COPY package.json package-lock.json ./
# The image has the pinned Node already, and the app gets its PostgreSQL from elsewhere: no install script has to run.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN node node_modules/typescript/bin/tsc -p tsconfig.build.json

FROM build AS example
COPY example example
USER node
WORKDIR /opt/slotgate/example

FROM build AS production
RUN npm prune --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:${NODE}-bookworm-slim AS slotgate
ENV NODE_ENV=production
WORKDIR /opt/slotgate
COPY --from=production /opt/slotgate/package.json ./
COPY --from=production /opt/slotgate/node_modules node_modules
COPY --from=production /opt/slotgate/dist dist
# The state and the keys are volumes; a new volume takes over the owner that its folder has here.
RUN ln -s /opt/slotgate/dist/bin.js /usr/local/bin/slotgate \
 && chmod +x dist/bin.js \
 && install -d -o node -g node -m 0700 /var/lib/slotgate /var/lib/slotgate/state /var/lib/slotgate/keys
USER node
EXPOSE 8080
# slotgate ends by itself on SIGTERM, after its requests; the time for that has to be longer than `drain: within`.
STOPSIGNAL SIGTERM
ENTRYPOINT ["slotgate"]
CMD ["serve", "--config", "/etc/slotgate/proxy.config.yaml"]
