// What must hold for what was read off a version: it has what every version has (otherwise the reading failed), and the
// protocol names all of it.
import assert from 'node:assert/strict';

/** Constants of pages and of the SDK's own parts, which no server says and no server is told. */
const LOCAL = new Set([
    'CONNECTION_QUALITY', 'CONNECTION_STATUS', 'CONNECTION_TYPE', 'CONTENT_HINT_TYPE', 'ERROR_INFO', 'HDLR_TYPES',
    'MEDIA_DEVICE_KIND', 'SDP',
]);

/** What each version has, by kind and name, with a value of it. */
const IN_EACH = [
    ['sends', 'connection', 'appKey'],
    ['sends', 'publishStream', 'sdp'],
    ['sends', 'playStream', 'sdp'],
    ['sends', 'pong', undefined],
    ['sends', 'connectMediaTransport', undefined],
    ['hears', 'getUserData', 'authToken'],
    ['hears', 'setRemoteSDP', undefined],
    ['hears', 'notifyStreamStatusEvent', 'mediaSessionId'],
    ['hears', 'streamRefreshHandlers', 'status'],
    ['hears', 'callRefreshHandlers', 'status'],
    ['commands', 'join', 'name'],
    ['events', 'STATE', undefined],
    ['words', 'STREAM_STATUS', 'PUBLISHING'],
    ['words', 'STREAM_STATUS_INFO', 'Stopped by user'],
    ['words', 'CALL_STATUS', 'TRYING'],
];

/** What the reading should have found and did not. */
export function lacking(found) {
    return IN_EACH.filter(([kind, name, value]) => {
        const values = found[kind].get(name);
        return !values || (value !== undefined && !values.has(value));
    }).map(([kind, name, value]) => `the reading lost ${kind} ${name} ${value ?? ''}: is it written in another way?`);
}

/** What the protocol does not name. */
export function unnamed(found, protocol) {
    const named = new Set(protocol.match(/[A-Za-z_][A-Za-z0-9_]*/g));
    const isNamed = (text) => (/^\w+$/.test(text) ? named.has(text) : protocol.includes(text));
    const problems = [];
    for (const [kind, names] of Object.entries(found)) {
        for (const [name, values] of names) {
            if (LOCAL.has(name)) {
                continue;
            }
            // Handlers and groups of words are names of the source, not of the protocol.
            const isOfSource = kind === 'words' || name.endsWith('RefreshHandlers');
            const all = isOfSource ? [...values] : [name, ...values];
            problems.push(...all.filter((text) => !isNamed(text)).map((text) => `${kind} ${name}: the protocol does not name ${text}`));
        }
    }
    return problems;
}

/** That these checks find something: an SDK with a message, a field, an event and a word of its own. */
export function selfTest(protocol) {
    const invented = {
        sends: new Map([['inventedMessage', new Set(['inventedField'])], ['connection', new Set(['appKey'])]]),
        hears: new Map([['streamRefreshHandlers', new Set(['inventedStatus'])]]),
        commands: new Map(),
        events: new Map([['INVENTED_EVENT', new Set()]]),
        words: new Map([['STREAM_STATUS_INFO', new Set(['Failed by invention'])]]),
    };
    const problems = unnamed(invented, protocol).join('\n');
    for (const what of ['inventedMessage', 'inventedField', 'inventedStatus', 'INVENTED_EVENT', 'Failed by invention']) {
        assert.match(problems, new RegExp(what), 'a word that the protocol does not name is found');
    }
    assert.doesNotMatch(problems, /appKey/);
    assert.ok(lacking(invented).some((line) => line.includes('publishStream')), 'a reading that failed is found');
}
