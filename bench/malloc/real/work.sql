-- Tables, indexes, joins, text and deletes on a database in memory; prints sums of what it holds. :n is set
-- by the command line.
PRAGMA cache_size = -65536;
CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, city TEXT, note TEXT);
CREATE TABLE item(id INTEGER PRIMARY KEY, customer INTEGER, price INTEGER, label TEXT);
WITH RECURSIVE r(i, x) AS (SELECT 1, 12345 UNION ALL
  SELECT i + 1, (x * 1103515245 + 12345) % 2147483648 FROM r WHERE i < :n / 10)
INSERT INTO customer SELECT i, 'name-' || x % 5000, 'city-' || x % 97, hex(zeroblob(x % 100)) FROM r;
WITH RECURSIVE r(i, x) AS (SELECT 1, 54321 UNION ALL
  SELECT i + 1, (x * 1103515245 + 12345) % 2147483648 FROM r WHERE i < :n)
INSERT INTO item SELECT i, 1 + x % (:n / 10), x / 7 % 10000, 'label ' || x % 1000 || ' of ' || i FROM r;
CREATE INDEX item_customer ON item(customer);
CREATE INDEX item_label ON item(label);
SELECT city, count(*), sum(price) FROM customer JOIN item ON item.customer = customer.id
  GROUP BY city ORDER BY 3 DESC LIMIT 10;
SELECT name, group_concat(label, ';') FROM customer JOIN item ON item.customer = customer.id
  WHERE city = 'city-13' GROUP BY name ORDER BY name LIMIT 5;
UPDATE item SET label = upper(label) || '!' WHERE price % 3 = 0;
DELETE FROM item WHERE price % 5 = 0;
SELECT count(*), sum(length(label)), max(label) FROM item;
SELECT a.label, b.label FROM item a JOIN item b ON a.customer = b.customer AND a.price < b.price
  WHERE a.id % 500 = 1 ORDER BY 1, 2 LIMIT 20;
SELECT json_group_array(json_object('n', name, 'c', city)) FROM (SELECT * FROM customer ORDER BY id LIMIT 2000);
VACUUM;
SELECT sum(length(note)), count(DISTINCT name) FROM customer;
