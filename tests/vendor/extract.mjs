// What one version of the SDK says, understands and has words for, read off its source. Executes nothing of it.
//
// The source is found by its shape, not by line: a call `send('name', {…})`, an object `{message: 'name', …}`, the switch
// over `data.message`, handlers kept in `…RefreshHandlers[…]`, objects of constants. Where a new version writes these in
// another way something that must be there is missing (`check.mjs`): it cannot pass by being overlooked.
import { readFileSync, readdirSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'acorn';
import { ancestor, full, simple } from 'acorn-walk';

/** Read beside the sources, which are incomplete in some versions. */
const BUNDLE = 'flashphoner.js';
/** Written so that it cannot be read; what it sends is in protocol S2.9. */
const UNREADABLE = new Set(['WSPlayer.js']);
/** Between the page and a worker of its own: these never reach a server. */
const OF_WORKERS = new Set(['ack', 'init', 'pause', 'play', 'resume']);

/** `{sends, hears, commands, events, words}` of the package in this directory, each a `Map` of a name to a `Set`. */
export function extract(directory) {
    const found = { sends: new Map(), hears: new Map(), commands: new Map(), events: new Map(), words: new Map() };
    for (const file of sources(directory)) {
        read(tree(readFileSync(file, 'utf8'), file), found);
    }
    for (const name of OF_WORKERS) {
        found.sends.delete(name);
    }
    return found;
}

function sources(directory) {
    const inside = existsSync(join(directory, 'src')) ? readdirSync(join(directory, 'src')) : [];
    const named = inside.filter((name) => name.endsWith('.js') && !UNREADABLE.has(name)).map((name) => join('src', name));
    return [...named.sort(), BUNDLE].map((name) => join(directory, name)).filter(existsSync);
}

function tree(text, file) {
    for (const sourceType of ['script', 'module']) {
        try {
            return parse(text, { ecmaVersion: 'latest', sourceType, allowReturnOutsideFunction: true });
        } catch (error) {
            if (sourceType === 'module') {
                throw new Error(`${file}: ${error.message}`);
            }
        }
    }
}

function read(program, found) {
    const constants = constantsOf(program);
    const text = (node) => (node?.type === 'Literal' && typeof node.value === 'string' ? node.value : constants.get(node?.name));
    ancestor(program, {
        CallExpression(node, _state, parents) {
            const [name, data] = node.arguments;
            // A sender that takes a name and an object; what takes a body alone is for requests.
            const sender = node.callee.property?.name ?? node.callee.name;
            const target = new Map([['send', found.sends], ['sendAppCommand', found.commands]]).get(sender);
            if (target && text(name) && data) {
                add(target, text(name), fieldsOf(data, parents));
            }
        },
        ObjectExpression(node) {
            const name = text(property(node, 'message'));
            if (name) {
                add(found.sends, name, fieldsOf(elementOf(property(node, 'data')), []));
            }
        },
        AssignmentExpression(node) {
            // An enumeration as TypeScript writes it.
            const { left, right } = node;
            if (left.type === 'MemberExpression' && /MessageType$/.test(left.object.name ?? '') && text(right)) {
                add(found.sends, text(right), []);
            }
        },
        SwitchStatement(node) {
            switchOver(node, text, found);
        },
        BinaryExpression(node) {
            // The room module compares the name of an event.
            if (/^===?$/.test(node.operator) && source(node.left) === 'data.name' && text(node.right)) {
                add(found.events, text(node.right), []);
            }
        },
    });
    handlersOf(program, found);
    wordsOf(program, found.words);
}

/** Names that stand for a text in this file. */
function constantsOf(program) {
    const constants = new Map();
    simple(program, {
        VariableDeclarator({ id, init }) {
            if (id.type === 'Identifier' && init?.type === 'Literal' && typeof init.value === 'string') {
                constants.set(id.name, init.value);
            }
        },
    });
    return constants;
}

/** The messages that a switch over `data.message` knows, each with what is read of the object that comes with it. */
function switchOver(node, text, found) {
    if (!/(^|\.)message$/.test(source(node.discriminant))) {
        return;
    }
    const names = node.cases.map(({ test }) => text(test));
    if (!names.includes('ping')) {
        return;
    }
    let group = [];
    for (const [index, { consequent }] of node.cases.entries()) {
        group.push(names[index]);
        if (consequent.length > 0) {
            const fields = consequent.flatMap((statement) => readsOf(statement, 'obj'));
            group.filter(Boolean).forEach((name) => add(found.hears, name, fields));
            group = [];
        }
    }
}

/**
 * What is read of an object that a handler is given: `streamRefreshHandlers[…] = function (streamInfo, …) {…}`, and what
 * every other function reads of an argument by the name of its first.
 */
function handlersOf(program, found) {
    const firsts = new Map();
    simple(program, {
        AssignmentExpression({ left, right }) {
            const isHandler = left.type === 'MemberExpression' && /RefreshHandlers$/.test(left.object.name ?? '');
            if (isHandler && /Function/.test(right.type)) {
                const [first, ...others] = right.params.map(({ name }) => name);
                firsts.set(first, left.object.name);
                others.filter((name) => name !== 'sdp').forEach((name) => add(found.hears, left.object.name, readsOf(right.body, name)));
            }
        },
    });
    simple(program, {
        Function({ params, body }) {
            for (const { name } of params.filter((parameter) => firsts.has(parameter.name))) {
                add(found.hears, firsts.get(name), readsOf(body, name));
            }
        },
    });
}

/** Names read of `object`, through any number of dots: `event.payload.info` reads `payload` and `info`. */
function readsOf(body, object) {
    const names = [];
    simple(body, {
        MemberExpression(node) {
            const path = source(node).split('.');
            if (path[0] === object) {
                names.push(...path.slice(1).filter((name) => !METHODS.has(name)));
            }
        },
    });
    return names;
}
/** What texts and lists can do, and what is ours to write. */
const METHODS = new Set(['forEach', 'split', 'toString', 'length', 'hasOwnProperty', 'indexOf', 'includes', 'toUpperCase']);

/** `a.b.c` as text; empty where it is anything else. */
function source(node) {
    if (node.type === 'Identifier') {
        return node.name;
    }
    if (node.type === 'MemberExpression' && !node.computed) {
        return `${source(node.object)}.${node.property.name}`;
    }
    return '';
}

function property(object, name) {
    return object.properties.find(({ key }) => (key?.name ?? key?.value) === name)?.value;
}

/** The first element of a list, or what is no list. */
function elementOf(node) {
    return node?.type === 'ArrayExpression' ? node.elements[0] : node;
}

/** The names of the fields of an object that is sent: written in place, or kept in a variable of the functions around. */
function fieldsOf(node, parents) {
    if (node?.type === 'ObjectExpression') {
        return node.properties.map(({ key }) => key?.name ?? key?.value).filter(Boolean);
    }
    if (node?.type !== 'Identifier') {
        return [];
    }
    const scopes = parents.filter(({ type }) => /Function|Program/.test(type)).reverse();
    for (const scope of scopes) {
        const fields = [];
        full(scope, (inner) => {
            const [target, value] =
                inner.type === 'VariableDeclarator' ? [inner.id, inner.init] : [inner.left, inner.right];
            if (!target || !['VariableDeclarator', 'AssignmentExpression'].includes(inner.type)) {
                return;
            }
            if (target.name === node.name && value?.type === 'ObjectExpression') {
                fields.push(...fieldsOf(value, []));
            }
            if (target.type === 'MemberExpression' && target.object.name === node.name && !target.computed) {
                fields.push(target.property.name);
            }
        });
        if (fields.length > 0) {
            return fields;
        }
    }
    return [];
}

/**
 * Constants: `STREAM_STATUS = Object.freeze({FAILED: 'FAILED', …})`, and as older versions have it, one by one with
 * `define(streamStatus, 'FAILED', 'FAILED')` and then `define(constants, 'STREAM_STATUS', streamStatus)`.
 */
function wordsOf(program, words) {
    const literal = (node) => (node?.type === 'Literal' && typeof node.value === 'string' ? [node.value] : []);
    const inside = (node) => (node?.type === 'CallExpression' ? inside(node.arguments.at(-1)) : node);
    const note = (name, value) => {
        const object = inside(value);
        if (/^[A-Z][A-Z_]+$/.test(name ?? '') && object?.type === 'ObjectExpression') {
            add(words, name, object.properties.flatMap((property) => literal(property.value)));
        }
    };
    const byVariable = new Map();
    const named = [];
    simple(program, {
        VariableDeclarator: ({ id, init }) => note(id.name, init),
        AssignmentExpression: ({ left, right }) => note(left.property?.name ?? left.name, right),
        CallExpression({ callee, arguments: [object, name, value] }) {
            if (callee.name === 'define' && object?.type === 'Identifier' && value) {
                literal(value).forEach((text) => add(byVariable, object.name, [text]));
                named.push([literal(name)[0], value.name]);
            }
        },
    });
    named.filter(([, variable]) => byVariable.has(variable)).forEach(([name, variable]) => add(words, name, byVariable.get(variable)));
}

function add(map, name, values) {
    const known = map.get(name) ?? new Set();
    values.forEach((value) => known.add(value));
    map.set(name, known);
}
