package openapi

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// api is a description: its operations by method and path.
type api struct {
	root    *node
	version string
	// operations are by name, such as "GET /v1/users/{}".
	operations map[string]*operation
}

// operation is what one method of one path takes and gives.
type operation struct {
	// name is as written: GET /v1/users/{id}.
	name, path string
	deprecated bool
	sunset     string
	parameters map[string]*parameter
	body       *body
	responses  map[string]*response
	security   []string
}

type parameter struct {
	required bool
	schema   *node
}

// body is a request's body: schemas by media type.
type body struct {
	required bool
	content  map[string]*node
}

type response struct {
	content map[string]*node
	headers []string
}

func methods() []string {
	return []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}
}

// read makes an api of a description.
func read(text []byte) (*api, error) {
	root, err := parse(text)
	if err != nil {
		return nil, err
	}
	a := &api{root: root, operations: map[string]*operation{}}
	swagger, three := root.get("swagger").str(), root.get("openapi").str()
	switch {
	case swagger == "2" || strings.HasPrefix(swagger, "2."):
		a.version = "2"
	case strings.HasPrefix(three, "3.0"), strings.HasPrefix(three, "3.1"):
		a.version = three
	default:
		return nil, errors.New("it is no description by OpenAPI 3.0 or 3.1 or Swagger 2")
	}
	prefix := a.prefix()
	for _, path := range root.get("paths").keys() {
		item, err := a.resolve(root.get("paths", path))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, method := range methods() {
			if item.get(method) == nil {
				continue
			}
			op, err := a.operation(method, prefix+path, item)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", strings.ToUpper(method)+" "+path, err)
			}
			a.operations[keyOf(op.name)] = op
		}
	}
	if len(a.operations) == 0 {
		return nil, errors.New("it describes no operation")
	}
	return a, nil
}

// keyOf names an operation whatever its path's parameters are called.
func keyOf(name string) string { return regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(name, "{}") }

// prefix is what all paths begin with: Swagger's basePath, or the path of the first
// server.
func (a *api) prefix() string {
	if a.version == "2" {
		return strings.TrimRight(a.root.get("basePath").str(), "/")
	}
	servers := a.root.get("servers").items()
	if len(servers) == 0 {
		return ""
	}
	address := servers[0].get("url").str()
	for _, name := range servers[0].get("variables").keys() {
		address = strings.ReplaceAll(address, "{"+name+"}", servers[0].get("variables", name, "default").str())
	}
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.TrimRight(u.Path, "/")
}

// resolve follows references within the description.
func (a *api) resolve(n *node) (*node, error) {
	const most = 50
	for range most {
		ref := n.get("$ref")
		if ref == nil || ref.isMap {
			return n, nil
		}
		pointer, local := strings.CutPrefix(ref.text, "#/")
		if !local {
			return nil, fmt.Errorf("%.100s is in another file: give one file in which everything stands", ref.text)
		}
		target := a.root
		for step := range strings.SplitSeq(pointer, "/") {
			if plain, err := url.PathUnescape(step); err == nil {
				step = plain
			}
			target = target.get(strings.NewReplacer("~1", "/", "~0", "~").Replace(step))
		}
		if target == nil {
			return nil, fmt.Errorf("%.100s leads nowhere", ref.text)
		}
		n = target
	}
	return nil, errors.New("references go round in a circle")
}

func (a *api) operation(method, path string, item *node) (*operation, error) {
	raw := item.get(method)
	op := &operation{
		name: strings.ToUpper(method) + " " + path, path: path, deprecated: raw.get("deprecated").is(), sunset: raw.get("x-sunset").str(),
		parameters: map[string]*parameter{}, responses: map[string]*response{}, security: a.security(raw),
	}
	for _, list := range [][]*node{item.get("parameters").items(), raw.get("parameters").items()} {
		for _, p := range list {
			if err := a.parameter(op, raw, p); err != nil {
				return nil, err
			}
		}
	}
	if b := raw.get("requestBody"); b != nil {
		b, err := a.resolve(b)
		if err != nil {
			return nil, err
		}
		op.body = &body{required: b.get("required").is(), content: content(b)}
	}
	for _, code := range raw.get("responses").keys() {
		r, err := a.resolve(raw.get("responses", code))
		if err != nil {
			return nil, err
		}
		given := &response{content: content(r), headers: r.get("headers").keys()}
		if schema := r.get("schema"); schema != nil {
			for _, media := range a.media(raw, "produces") {
				given.content[media] = schema
			}
		}
		op.responses[strings.ToUpper(code)] = given
	}
	return op, nil
}

func content(n *node) map[string]*node {
	out := map[string]*node{}
	for _, media := range n.get("content").keys() {
		out[strings.ToLower(media)] = n.get("content", media, "schema")
	}
	return out
}

// media gives the media types of a Swagger operation.
func (a *api) media(raw *node, which string) []string {
	for _, from := range []*node{raw, a.root} {
		if list := from.get(which).texts(); len(list) > 0 {
			return list
		}
	}
	return []string{"application/json"}
}

// parameter reads one; Swagger's body is the request's body.
func (a *api) parameter(op *operation, raw, p *node) error {
	p, err := a.resolve(p)
	if err != nil {
		return err
	}
	name, in := p.get("name").str(), p.get("in").str()
	if name == "" || in == "" {
		return errors.New("a parameter has no name or place")
	}
	schema := p.get("schema")
	for _, media := range p.get("content").keys() {
		schema = p.get("content", media, "schema")
	}
	switch {
	case in == "body" && a.version == "2":
		op.body = &body{required: p.get("required").is(), content: map[string]*node{}}
		for _, media := range a.media(raw, "consumes") {
			op.body.content[media] = schema
		}
		return nil
	case a.version == "2":
		schema = p // its type stands in the parameter itself
	case in == "header":
		name = strings.ToLower(name)
	case in == "path": // known by its place in the path
		name = fmt.Sprint(slices.Index(regexp.MustCompile(`\{[^}]*\}`).FindAllString(op.path, -1), "{"+name+"}"))
	}
	op.parameters[in+" "+name] = &parameter{required: p.get("required").is(), schema: schema}
	return nil
}

// security lists the alternatives of what a caller must show, each as its sorted
// schemes; an empty one means that nothing is needed.
func (a *api) security(raw *node) []string {
	list := raw.get("security")
	if list == nil {
		list = a.root.get("security")
	}
	var out []string
	for _, alternative := range list.items() {
		var parts []string
		for _, scheme := range alternative.keys() {
			scopes := alternative.get(scheme).texts()
			parts = append(parts, scheme)
			for _, s := range scopes {
				parts = append(parts, scheme+":"+s)
			}
		}
		slices.Sort(parts)
		out = append(out, strings.Join(parts, " "))
	}
	return out
}
