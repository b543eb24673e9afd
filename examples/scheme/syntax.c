/* syntax.c - what identifiers mean, and macros: syntax-rules.
 *
 * WHAT   A macro's template does not insert symbols but aliases: identifiers that remember the symbol and
 *        the scope of the macro's definition. An alias that a binding form of the expansion binds is a
 *        variable of its own, which no name of the macro's user can mean; any other is looked up where the
 *        macro was defined. That is all of hygiene. Not so: a top-level `define` of an alias defines the
 *        symbol itself, so a macro's top-level helper names are visible.
 * FROM   the idea of aliases as in Rees' and Clinger's explicit renaming. */
#include "scheme.h"

/* Slots of the compiler's objects. */
enum { ALIAS_NAME, ALIAS_SCOPE }; /* the name may be an alias, too */
enum { SCOPE_BINDINGS, SCOPE_PARENT }; /* list of (identifier . meaning); 0: the top */
enum { MACRO_ELLIPSIS, MACRO_LITERALS, MACRO_RULES, MACRO_SCOPE };

static value sym_ellipsis, sym_underscore, sym_syntax_rules;

void bad_syntax(value form)
{
	fail_as("syntax", "bad syntax", strip(form));
}

bool is_identifier(value v)
{
	return is_kind(v, KIND_SYMBOL) || is_kind(v, KIND_ALIAS);
}

static value base_name(value id)
{
	while (is_kind(id, KIND_ALIAS))
		id = slot_of(id, ALIAS_NAME);
	return id;
}

/* strip - a copy without aliases, where there are any. */
value strip(value form)
{
	if (is_kind(form, KIND_ALIAS))
		return base_name(form);
	if (is_pair(form)) {
		value a = strip(car(form)), d = strip(cdr(form));
		return a == car(form) && d == cdr(form) ? form : cons(a, d);
	}
	if (is_kind(form, KIND_VECTOR)) {
		value copy = make_vector(length_of(form), 0);
		bool same = true;
		for (size_t i = 0; i < length_of(form); i++) {
			value v = object_of(copy)->slot[i] = strip(slot_of(form, i));
			same &= v == slot_of(form, i);
		}
		return same ? form : copy;
	}
	return form;
}

/* ── scopes ── */

value new_scope(value parent)
{
	return object_with(KIND_SCOPE, 2, V_NIL, parent, 0, 0);
}

void bind(value scope, value id, value meaning)
{
	value list = slot_of(scope, SCOPE_BINDINGS);
	set_slot(&object_of(scope)->slot[SCOPE_BINDINGS], cons(cons(id, meaning), list));
}

value lookup(value id, value scope)
{
	for (;;) {
		for (value s = scope; s != 0; s = slot_of(s, SCOPE_PARENT))
			for (value b = slot_of(s, SCOPE_BINDINGS); b != V_NIL; b = cdr(b))
				if (car(car(b)) == id)
					return cdr(car(b));
		if (is_kind(id, KIND_SYMBOL))
			return symbol_of(id)->syntax != 0 ? symbol_of(id)->syntax : id;
		scope = slot_of(id, ALIAS_SCOPE);
		id = slot_of(id, ALIAS_NAME);
	}
}

/* ── syntax-rules ── */

value make_macro(value spec, value scope)
{
	if (list_length(spec) == SIZE_MAX || list_length(spec) < 2 || !is_identifier(car(spec)) ||
	    base_name(car(spec)) != sym_syntax_rules)
		bad_syntax(spec);
	value ellipsis = sym_ellipsis, rest = cdr(spec);
	if (is_identifier(car(rest))) {
		ellipsis = car(rest);
		rest = cdr(rest);
	}
	if (!is_pair(rest) || list_length(car(rest)) == SIZE_MAX)
		bad_syntax(spec);
	for (value rules = cdr(rest); rules != V_NIL; rules = cdr(rules))
		if (list_length(car(rules)) != 2)
			bad_syntax(spec);
	return object_with(KIND_MACRO, 4, ellipsis, car(rest), cdr(rest), scope);
}

/* One expansion under way. */
struct match {
	value macro, scope; /* scope: of the use */
	value vars; /* list of (pattern variable . what it matched); under an ellipsis: a box with a list */
	value renamed; /* list of (symbol . alias) */
};

static bool is_ellipsis(const struct match *m, value v)
{
	value e = slot_of(m->macro, MACRO_ELLIPSIS);
	return v == e || (is_kind(v, KIND_ALIAS) && e == sym_ellipsis && base_name(v) == e);
}

static bool is_literal(const struct match *m, value id)
{
	for (value l = slot_of(m->macro, MACRO_LITERALS); is_pair(l); l = cdr(l))
		if (car(l) == id)
			return true;
	return false;
}

static bool followed_by_ellipsis(const struct match *m, value list)
{
	return is_pair(list) && is_pair(cdr(list)) && is_ellipsis(m, car(cdr(list)));
}

static value vector_list(value v)
{
	value list = V_NIL;
	for (size_t i = length_of(v); i-- > 0;)
		list = cons(slot_of(v, i), list);
	return list;
}

static size_t pairs_in(value list)
{
	size_t n = 0;
	for (; is_pair(list); list = cdr(list))
		n++;
	return n;
}

static bool match(struct match *m, value pattern, value form);

/* pattern_vars - each variable of the pattern, with an empty list, onto `vars`. */
static value pattern_vars(const struct match *m, value pattern, value vars)
{
	if (is_identifier(pattern))
		return is_literal(m, pattern) || is_ellipsis(m, pattern) ||
				       base_name(pattern) == sym_underscore
			       ? vars
			       : cons(cons(pattern, V_NIL), vars);
	if (is_kind(pattern, KIND_VECTOR))
		pattern = vector_list(pattern);
	for (; is_pair(pattern); pattern = cdr(pattern))
		vars = pattern_vars(m, car(pattern), vars);
	return is_identifier(pattern) ? pattern_vars(m, pattern, vars) : vars;
}

static value assq(value key, value list)
{
	for (; list != V_NIL; list = cdr(list))
		if (car(car(list)) == key)
			return car(list);
	return 0;
}

/* match_ellipsis - (item ... tail…): as many items as leave enough for the tail. */
static bool match_ellipsis(struct match *m, value pattern, value form)
{
	value item = car(pattern), tail = cdr(cdr(pattern));
	size_t have = pairs_in(form), need = pairs_in(tail);
	if (have < need)
		return false;
	value outer = m->vars, collected = pattern_vars(m, item, V_NIL);
	for (size_t n = have - need; n > 0; n--, form = cdr(form)) {
		m->vars = V_NIL;
		if (!match(m, item, car(form)))
			return false;
		for (value c = collected; c != V_NIL; c = cdr(c))
			set_slot(&pair_of(car(c))->cdr,
				 cons(cdr(assq(car(car(c)), m->vars)), cdr(car(c))));
	}
	m->vars = outer;
	for (value c = collected; c != V_NIL; c = cdr(c))
		m->vars = cons(cons(car(car(c)), make_box(reverse(cdr(car(c))))), m->vars);
	return match(m, tail, form);
}

static bool match(struct match *m, value pattern, value form)
{
	for (; is_pair(pattern); pattern = cdr(pattern), form = cdr(form)) {
		if (followed_by_ellipsis(m, pattern))
			return match_ellipsis(m, pattern, form);
		if (!is_pair(form) || !match(m, car(pattern), car(form)))
			return false;
	}
	if (is_identifier(pattern)) {
		if (is_literal(m, pattern))
			return is_identifier(form) &&
			       lookup(form, m->scope) ==
				       lookup(pattern, slot_of(m->macro, MACRO_SCOPE));
		if (base_name(pattern) != sym_underscore)
			m->vars = cons(cons(pattern, form), m->vars);
		return true;
	}
	if (is_kind(pattern, KIND_VECTOR))
		return is_kind(form, KIND_VECTOR) && match(m, vector_list(pattern), vector_list(form));
	return is_equal(pattern, form);
}

static value rename(struct match *m, value id)
{
	value known = assq(id, m->renamed);
	if (known != 0)
		return cdr(known);
	value alias = object_with(KIND_ALIAS, 2, id, slot_of(m->macro, MACRO_SCOPE), 0, 0);
	m->renamed = cons(cons(id, alias), m->renamed);
	return alias;
}

static value instantiate(struct match *m, value template, bool escaped);

/* each - one instance of the template for each element of the lists that its variables matched. */
static value each(struct match *m, value template, value rest)
{
	value names = pattern_vars(m, template, V_NIL), outer = m->vars, result = V_NIL;
	value lists = V_NIL; /* (name . remaining elements) */
	for (value n = names; n != V_NIL; n = cdr(n)) {
		value known = assq(car(car(n)), outer);
		if (known != 0 && is_kind(cdr(known), KIND_BOX))
			lists = cons(cons(car(known), slot_of(cdr(known), 0)), lists);
	}
	if (lists == V_NIL)
		bad_syntax(template);
	for (;;) {
		m->vars = outer;
		bool some = false;
		for (value l = lists; l != V_NIL; l = cdr(l)) {
			if (!is_pair(cdr(car(l))))
				continue;
			some = true;
			m->vars = cons(cons(car(car(l)), car(cdr(car(l)))), m->vars);
			set_slot(&pair_of(car(l))->cdr, cdr(cdr(car(l))));
		}
		if (!some)
			break;
		result = cons(instantiate(m, template, false), result);
	}
	m->vars = outer;
	for (; result != V_NIL; result = cdr(result))
		rest = cons(car(result), rest);
	return rest;
}

static value append2(value a, value b)
{
	value result = b;
	for (a = reverse(a); a != V_NIL; a = cdr(a))
		result = cons(car(a), result);
	return result;
}

static value instantiate(struct match *m, value template, bool escaped)
{
	if (is_identifier(template)) {
		value known = assq(template, m->vars);
		return known != 0 ? cdr(known) : rename(m, template);
	}
	if (is_kind(template, KIND_VECTOR)) {
		value list = instantiate(m, vector_list(template), escaped);
		value v = make_vector(list_length(list), 0);
		for (size_t i = 0; is_pair(list); list = cdr(list))
			object_of(v)->slot[i++] = car(list);
		return v;
	}
	if (!is_pair(template))
		return template;
	if (!escaped && is_ellipsis(m, car(template)) && is_pair(cdr(template)))
		return instantiate(m, car(cdr(template)), true);
	if (escaped || !followed_by_ellipsis(m, template))
		return cons(instantiate(m, car(template), escaped),
			    instantiate(m, cdr(template), escaped));
	value item = car(template), after = cdr(cdr(template));
	if (!is_pair(after) || !is_ellipsis(m, car(after)))
		return each(m, item, instantiate(m, after, false));
	/* item ... ...: the lists of lists, flattened */
	value lists = each(m, list_n(2, item, slot_of(m->macro, MACRO_ELLIPSIS)), V_NIL);
	value result = instantiate(m, cdr(after), false);
	for (lists = reverse(lists); lists != V_NIL; lists = cdr(lists))
		result = append2(car(lists), result);
	return result;
}

value expand(value macro, value form, value scope)
{
	for (value rules = slot_of(macro, MACRO_RULES); rules != V_NIL; rules = cdr(rules)) {
		struct match m = { macro, scope, V_NIL, V_NIL };
		value pattern = car(car(rules));
		if (is_pair(pattern) && match(&m, cdr(pattern), cdr(form)))
			return instantiate(&m, car(cdr(car(rules))), false);
	}
	bad_syntax(form);
}

void syntax_init(void)
{
	sym_ellipsis = symbol("..."); /* in the symbol table, which keeps them */
	sym_underscore = symbol("_");
	sym_syntax_rules = symbol("syntax-rules");
}
