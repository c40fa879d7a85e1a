package sql

import (
	"context"
	"errors"
	"fmt"

	"allclear.dev/allclear/internal/postgres"
)

// accessSQL lists who may do what: the owner and the grants of every object and
// column, the row security of tables with its policies, what new objects will
// get, and which roles a role is a member of. Grants that were never touched are
// written out as what they mean (acldefault), so that touching them without a
// change is none.
const accessSQL = `WITH acl(object, owner, list) AS (
  SELECT 'relation ' || c.oid::regclass, c.relowner, coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND ` + ours + `
  UNION ALL SELECT 'column ' || c.oid::regclass || '.' || quote_ident(a.attname), c.relowner, a.attacl
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE a.attacl IS NOT NULL AND ` + ours + `
  UNION ALL SELECT 'schema ' || quote_ident(nspname), nspowner, coalesce(nspacl, acldefault('n', nspowner))
    FROM pg_namespace WHERE nspname NOT LIKE 'pg\_%' AND nspname NOT IN ('information_schema', 'allclear')
  UNION ALL SELECT 'function ' || p.oid::regprocedure || CASE WHEN p.prosecdef THEN ' security definer' ELSE '' END, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'allclear')
    AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')
  UNION ALL SELECT 'database', datdba, coalesce(datacl, acldefault('d', datdba)) FROM pg_database WHERE datname = current_database())
SELECT object, 'owner ' || pg_get_userbyid(owner) || coalesce((SELECT string_agg(format(', %s %s%s', CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee) END,
  x.privilege_type, CASE WHEN x.is_grantable THEN '*' END), '' ORDER BY 1) FROM (SELECT * FROM aclexplode(list) ORDER BY grantee, privilege_type) x), '') FROM acl
UNION ALL SELECT 'row security ' || c.oid::regclass, format('enabled %s, forced %s', c.relrowsecurity, c.relforcerowsecurity)
  || coalesce((SELECT string_agg(format(', policy %s %s %s %s', p.polname, p.polcmd, p.polpermissive, md5(concat(p.polroles::text, pg_get_expr(p.polqual, p.polrelid), '/', pg_get_expr(p.polwithcheck, p.polrelid)))), '' ORDER BY p.polname)
    FROM pg_policy p WHERE p.polrelid = c.oid), '')
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND ` + ours + `
UNION ALL SELECT format('default privileges of %s for %s in %s', pg_get_userbyid(d.defaclrole), d.defaclobjtype, coalesce(d.defaclnamespace::regnamespace::text, 'every schema')), 'grants ' || d.defaclacl::text
  FROM pg_default_acl d WHERE d.defaclnamespace = 0 OR d.defaclnamespace <> to_regnamespace('allclear')::oid OR to_regnamespace('allclear') IS NULL
UNION ALL SELECT 'role ' || r.rolname, format('superuser %s, bypassrls %s, member of %s', r.rolsuper, r.rolbypassrls,
  (SELECT string_agg(g.rolname, ', ' ORDER BY g.rolname) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid))
  FROM pg_roles r WHERE r.rolname NOT LIKE 'pg\_%'
ORDER BY 1, 2`

// access compares who may do what: for every object that was there before, it
// must be the same. New and dropped objects are the schema's business.
func (w *comparison) access(ctx context.Context) error {
	now, err := rights(ctx, w.c)
	if err != nil {
		return err
	}
	var before map[string]string
	switch w.Compare {
	case wayBefore:
		return keep(w, ofAccess, now)
	case wayOther:
		before, err = rights(ctx, w.other)
	default:
		before, err = recall[map[string]string](w, ofAccess)
	}
	if err != nil {
		return err
	}
	if len(before) == 0 {
		return errors.New("what was taken down before holds no object")
	}
	w.a.differ(list{fact: "access changes", what: "owners, grants or row security are others"}, before, now, false)
	return nil
}

func rights(ctx context.Context, c *postgres.Conn) (map[string]string, error) {
	t, err := c.Query(ctx, maxObjects*10, accessSQL)
	if err != nil {
		return nil, fmt.Errorf("read owners and grants: %w", err)
	}
	if t.More {
		return nil, fmt.Errorf("read owners and grants: more than %d", maxObjects*10)
	}
	out := map[string]string{}
	for _, row := range t.Rows {
		out[row[0].Text] += row[1].Text
	}
	return out, nil
}
