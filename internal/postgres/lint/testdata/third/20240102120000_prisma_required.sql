/*
  Warnings:

  - You are about to drop the column `vat` on the `Customer` table. All the data in the column will be lost.
  - Added the required column `currency` to the `Order` table without a default value.

*/
-- DropForeignKey
ALTER TABLE "Order" DROP CONSTRAINT "Order_customerId_fkey";

-- DropIndex
DROP INDEX "Customer_email_key";

-- AlterTable
ALTER TABLE "Customer" DROP COLUMN "vat",
ALTER COLUMN "points" SET DATA TYPE BIGINT;

-- AddForeignKey
ALTER TABLE "Order" ADD CONSTRAINT "Order_customerId_fkey" FOREIGN KEY ("customerId") REFERENCES "Customer"("id") ON DELETE CASCADE ON UPDATE CASCADE;
