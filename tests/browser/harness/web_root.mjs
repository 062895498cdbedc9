// What a Web Call Server answers by HTTP, simulated by a process of its own, which can be killed: on one port its pages
// (the SDK's package, at /client2), REST, figures and the answer for lbUrl; on another one HLS. Each request is a line
// of JSON in its output, so that one can see by which way it came.
//
// node web_root.mjs PORT HLS_PORT WS_PORT HLS_DIRECTORY

import http from 'node:http';
import { fileIn, pathOf, sendFile } from './files.mjs';
import { PACKAGE } from './site.mjs';

const PAGES = '/client2/';
const [port, hlsPort, wsPort] = process.argv.slice(2, 5).map(Number);
const playlists = process.argv[5];

const sendJson = (response, value) => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));

/** Answers what REST is asked with what it was asked. */
async function rest(request, response) {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += chunk;
  sendJson(response, { method: request.method, path: request.url, asked: JSON.parse(text) });
}

async function web(request, response) {
  const name = pathOf(request.url);
  if (name.startsWith(PAGES)) sendFile(response, fileIn(PACKAGE, name.slice(PAGES.length)));
  else if (name.startsWith('/rest-api/') && request.method === 'POST') await rest(request, response);
  // A browser that believed this would go to the server itself.
  else if (name === '/lb') sendJson(response, { server: '127.0.0.1', ws: wsPort, wss: wsPort, flash: 1935 });
  else if (name === '/' && request.url.includes('action=stat')) response.end('-----Connection Stats-----\nconnections=0\n');
  // Browsers ask for it by themselves.
  else if (name === '/favicon.ico') response.writeHead(204).end();
  else response.writeHead(404).end();
}

function hls(request, response) {
  sendFile(response, fileIn(playlists, pathOf(request.url)), { 'access-control-allow-origin': '*' });
}

function start(answer, port, kind) {
  http.createServer((request, response) => {
    const { method, url, headers } = request;
    const told = ['host', 'via', 'x-forwarded-for', 'x-forwarded-proto'].map((name) => [name, headers[name]]);
    console.log(JSON.stringify({ kind, method, url, ...Object.fromEntries(told) }));
    answer(request, response);
  }).listen(port, '127.0.0.1');
}

start(web, port, 'web');
start(hls, hlsPort, 'hls');
